"""Whether a file computes what it should: the metrics, and the self-check of every export."""
