"""The process that holds the Raspberry Pi's camera: reads it with picamera2, writes raw RGB frames into a pipe.

Started by its path (see ``picamera2.py``); it imports nothing of this package, to be ready soon and small.
"""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any, NoReturn

RATE = 30
_MICROSECONDS = 1_000_000


def main(arguments: list[str]) -> int:
    """Writes frames until the pipe is closed; what is wrong goes to standard error, which the parent shows."""
    descriptor, camera, width, height = map(int, arguments)
    try:
        picamera2: Any = importlib.import_module("picamera2")
    except ImportError as error:
        return _fail(f"picamera2 is not here ({error}): sudo apt install python3-picamera2")
    cameras = picamera2.Picamera2.global_camera_info()
    if camera >= len(cameras):
        return _fail(f"{len(cameras)} cameras are connected, and camera {camera} is not among them")
    device = picamera2.Picamera2(camera)
    try:
        _stream(device, descriptor, (width, height))
    except (KeyboardInterrupt, BrokenPipeError):
        return 0
    finally:
        device.stop()
        device.close()


def _stream(device: Any, descriptor: int, size: tuple[int, int]) -> NoReturn:
    frame_time = _MICROSECONDS // RATE
    configuration = device.create_video_configuration(
        main={"size": size, "format": "BGR888"},  # libcamera names the bytes from the last to the first: this is RGB
        buffer_count=3,
        queue=False,  # the next frame the camera takes, not one that has been waiting
        controls={"FrameDurationLimits": (frame_time, frame_time)},
    )
    device.configure(configuration)
    device.start()
    while True:
        content = memoryview(device.capture_array("main").tobytes())
        while content:
            content = content[os.write(descriptor, content) :]


def _fail(message: str) -> int:
    print(f"ERROR: {message}", file=sys.stderr)  # noqa: T201  # not for the user: the parent reads it
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
