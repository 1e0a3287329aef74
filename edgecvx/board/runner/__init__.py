"""The program that measures on a device: a coordinator, one worker per artifact, and the line to the host."""
