"""Accuracy and latency."""
