"""What differs from target to target, as data."""
