"""The sections about what files answer."""
