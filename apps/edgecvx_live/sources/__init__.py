"""Where frames come from, by one line of text."""

from __future__ import annotations

from pathlib import Path

from edgecvx.errors import UsageError, one_of
from edgecvx_live.sources.base import SIZE, Source

KINDS = ("picamera2", "v4l2", "csi", "rtsp", "file", "folder", "test", "demo")


def open_source(text: str, *, size: tuple[int, int] = SIZE, loop: bool = True) -> Source:
    """The source a line of text names; it is opened by whoever reads it.

    Args:
        text: ``picamera2``, ``v4l2:/dev/video0``, ``csi:0``, ``rtsp://…``, ``file:video.mp4``, ``folder:DIR``,
            ``test`` or ``demo``, ``demo:seed=N``.
        size: Width and height of the frames of a camera or a video.
        loop: Whether a file or a folder starts over at its end.

    Raises:
        UsageError: There is no such kind, or what follows it makes no sense.
    """
    _check_size(size)
    kind, _, rest = text.partition(":")
    if kind in ("file", "folder") and not rest:
        raise UsageError(f"{text} names none: write file:video.mp4 for a video, folder:DIR for a folder of pictures")
    if kind == "demo":
        from edgecvx_live.sources.demo import DemoSource

        return DemoSource(seed=_seed(rest))
    if kind == "folder":
        from edgecvx_live.sources.folder import FolderSource

        return FolderSource(Path(rest), loop=loop)
    if kind == "picamera2":
        from edgecvx_live.sources.picamera2 import open_picamera2

        return open_picamera2(rest, size)
    from edgecvx_live.sources import gstreamer

    if kind == "v4l2":
        return gstreamer.open_v4l2(rest, size)
    if kind == "csi":
        return gstreamer.open_csi(rest, size)
    if kind in ("rtsp", "rtsps"):
        return gstreamer.open_rtsp(text, size)
    if kind == "file":
        return gstreamer.open_file(Path(rest), size, loop=loop)
    if kind == "test":
        return gstreamer.open_test(size)
    raise one_of("source", kind, KINDS)


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    # A row of raw RGB is padded to four bytes; of a width that is a multiple of four, nothing is.
    if width % 4 or not 64 <= width <= 4096 or not 64 <= height <= 4096:
        raise UsageError(f"frames of {width} x {height} do not work: from 64 to 4096, the width a multiple of 4")


def _seed(text: str) -> int:
    if not text:
        return 0
    key, _, value = text.partition("=")
    if key != "seed" or not value.isascii() or not value.isdigit() or len(value) > 9:
        raise UsageError(f"demo:{text} makes no sense: write demo, or demo:seed=7 to start at another picture")
    return int(value)
