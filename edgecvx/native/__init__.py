"""The native engine: its sources, and how they are built."""
