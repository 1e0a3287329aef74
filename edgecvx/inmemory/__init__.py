"""A network that somebody holds in memory, taken as its checkpoint would be, and held to its own forward pass."""
