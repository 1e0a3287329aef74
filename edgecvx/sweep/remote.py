"""A sweep on a cluster."""
