"""edgecvx: from a ConvNeXt V2 checkpoint to a proven file for every edge runtime."""

__version__ = "0.1.0"
