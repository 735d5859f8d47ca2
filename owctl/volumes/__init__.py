"""What is in a volume: archives, files, their swap, and containers that reach them."""
