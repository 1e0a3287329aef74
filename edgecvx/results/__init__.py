"""The values of accuracy, latency and layers, their schema, and numbers as people read them."""
