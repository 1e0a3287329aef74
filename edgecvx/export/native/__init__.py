"""The file of our own engine: ``.ecvx``."""
