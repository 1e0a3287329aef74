"""What is in a file, how a checkpoint looks to INT8, and what this machine can do with a file."""
