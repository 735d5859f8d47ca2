"""What is compared: one file a family; each measure takes a Bench and returns comparisons."""
