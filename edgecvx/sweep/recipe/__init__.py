"""What a sweep is asked for, and how it is read from a file."""
