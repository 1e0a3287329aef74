"""Where frames come from, by one line of text."""

from __future__ import annotations

from edgecvx.errors import UsageError, one_of
from edgecvx_live.sources.base import SIZE, Source

KINDS = ("picamera2", "v4l2", "csi", "rtsp", "file", "folder", "test", "demo")


def open_source(text: str, *, size: tuple[int, int] = SIZE, loop: bool = True) -> Source:
    """The source a line of text names; it is opened by whoever reads it.

    Args:
        text: ``picamera2``, ``v4l2:/dev/video0``, ``csi:0``, ``rtsp://…``, ``file:video.mp4``, ``folder:DIR``,
            ``test`` or ``demo``, ``demo:seed=N``.
        size: Width and height of the frames.
        loop: Whether a file or a folder starts over at its end.

    Raises:
        UsageError: There is no such kind, or what follows it makes no sense.
    """
    kind, _, rest = text.partition(":")
    if kind == "demo":
        from edgecvx_live.sources.demo import DemoSource

        return DemoSource(seed=_seed(rest))
    raise one_of("source", kind, KINDS)


def _seed(text: str) -> int:
    if not text:
        return 0
    key, _, value = text.partition("=")
    if key != "seed" or not value.isascii() or not value.isdigit() or len(value) > 9:
        raise UsageError(f"demo:{text} makes no sense: write demo, or demo:seed=7 to start at another picture")
    return int(value)
