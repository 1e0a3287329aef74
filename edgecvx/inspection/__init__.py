"""What is in a file, and what this machine can do with it."""
