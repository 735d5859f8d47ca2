"""What a backup changes of a stack for a while, and how it is set right again, whatever happens."""
