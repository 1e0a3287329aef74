"""The reference executor: computes a Core ML program anywhere, one operation at a time."""

KIND = "reference executor: a check of the program's arithmetic, not of Apple's hardware"
