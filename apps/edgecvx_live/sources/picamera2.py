"""The Raspberry Pi's own camera, through the picamera2 of Raspberry Pi OS, in a child process as GStreamer is."""

from __future__ import annotations

import sys
from pathlib import Path

from edgecvx.errors import UsageError
from edgecvx_live.sources.pipe import PipeSource, Program

_CHILD = Path(__file__).with_name("picamera2_child.py")
_START = (
    "import runpy, sys; sys.path[:] = filter(None, sys.path); sys.argv = sys.argv[1:]; "
    "runpy.run_path(sys.argv[0], run_name='__main__')"
)
"""By its path, so that it loads nothing of ours; and with neither this folder nor the user's on the search path, where
a file that is called ``picamera2.py`` would be found first."""


SYSTEM_PYTHON = Path("/usr/bin/python3")
"""picamera2 is built for the system's Python and its numpy, which is older than ours; beside ours it breaks."""


def open_picamera2(number: str, size: tuple[int, int]) -> PipeSource:
    """The camera by its number in ``rpicam-hello --list-cameras``."""
    if number not in ("", "0", "1", "2", "3"):
        raise UsageError(f"picamera2:{number} is no camera: write picamera2, or picamera2:1 for the second connector")
    camera = number or "0"
    program = Program(
        argv=lambda descriptor: [
            *(str(SYSTEM_PYTHON) if SYSTEM_PYTHON.exists() else sys.executable, "-c", _START, str(_CHILD)),
            *map(str, (descriptor, camera, *size)),
        ],
        advice="`rpicam-hello --list-cameras` must name it; if not, switch off and see that the ribbon sits right",
    )
    return PipeSource("picamera2", f"camera {camera}", program, size)
