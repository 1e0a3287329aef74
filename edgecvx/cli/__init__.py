"""The command line: one file per verb, and ``show``, which puts results on a terminal."""
