"""One way to open and run every file."""
