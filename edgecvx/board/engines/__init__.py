"""Opens a file in its runtime: the same way for a measurement on a board and for a proof on this machine."""
