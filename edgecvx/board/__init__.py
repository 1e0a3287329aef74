"""What runs on the device that is measured: a coordinator, one worker per artifact, and what they read about the board.

It travels as one file (``latency.devices.job``) to boards on which edgecvx is not installed, and so needs nothing
but Python 3.9, its standard library, numpy and the runtime that is measured; Pillow for end-to-end times alone. It
imports nothing of edgecvx outside this folder but the version.

Host and device speak in lines of JSON: an order in a file, events on standard output. Standard input is the lifeline:
when the host falls silent, the runner ends itself, its workers and, where told to, its folder.
"""

from __future__ import annotations

PROTOCOL = 2
"""Of the order and the events; a runner refuses an order of another."""

MARK = ".edgecvx-run"
"""A file of this name in the order's folder says that the folder was made for one run, and may be removed with it."""
