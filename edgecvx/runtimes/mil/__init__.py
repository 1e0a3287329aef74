"""The reference executor: computes a Core ML program anywhere, one operation at a time."""
