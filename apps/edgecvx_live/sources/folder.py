"""The pictures of a folder, one after the other, as a camera would see them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from edgecvx.data.folder import list_pictures
from edgecvx.data.preprocess import load_picture
from edgecvx.errors import EdgecvxError, ImageError
from edgecvx.spec import PreprocessSpec
from edgecvx_live.sources.base import Picture, SourceEndedError, SourceLostError, SourceMissingError
from edgecvx_live.values import Pixels

HOLD = 2.0
"""Seconds each picture stays."""
RATE = 10.0
"""Frames per second: the same picture again, for whoever joins."""
LARGEST = (1280, 960)
"""Photos are shrunk into this, four times what the network looks at, before they are kept and sent around."""
_UPRIGHT = PreprocessSpec()


class FolderSource:
    """Pictures in the order of their names; what is no picture is skipped, and new ones are seen in the next round."""

    kind = "folder"

    def __init__(self, folder: Path, *, loop: bool = True, hold: float = HOLD, rate: float = RATE) -> None:
        self.name = folder.name or str(folder)
        self._folder, self._loop = folder, loop
        self._hope = ", they are taken up" if loop else ""
        self._period, self._repeats = 1 / rate, max(1, round(hold * rate))
        self._closed = threading.Event()
        self._frames: Iterator[Picture] = iter(())
        self._due = 0.0

    def open(self) -> None:
        """Starts at the first picture."""
        self._closed.clear()
        if not self._folder.is_dir():
            raise SourceMissingError(f"there is no folder {self._folder}: make it and put pictures in{self._hope}")
        self._frames, self._due = self._rounds(), time.monotonic()

    def read(self) -> Picture:
        """The next frame, when it is due."""
        if self._closed.wait(max(0.0, self._due - time.monotonic())):
            raise SourceLostError(f"{self.name} was stopped")
        self._due = max(self._due + self._period, time.monotonic())
        return next(self._frames)

    def close(self) -> None:
        """Ends a ``read`` that waits."""
        self._closed.set()

    def _rounds(self) -> Iterator[Picture]:
        while True:
            shown = 0
            for path in self._pictures():
                started = time.monotonic()
                try:
                    pixels = _load(path)
                except ImageError:
                    continue  # damaged behind its header
                shown += 1
                took = (time.monotonic() - started) * 1e3
                for again in range(self._repeats):
                    yield Picture(pixels=pixels, capture_ms=0.0 if again else took)
            if not shown:
                raise SourceMissingError(f"{self._folder} holds no pictures: put some in{self._hope}")
            if not self._loop:
                raise SourceEndedError(f"all pictures of {self.name} were shown")

    def _pictures(self) -> tuple[Path, ...]:
        try:
            return tuple(picture.path for picture in list_pictures(self._folder).pictures)
        except EdgecvxError as error:
            raise SourceMissingError(str(error)) from None


def _load(path: Path) -> Pixels:
    image = load_picture(path, _UPRIGHT)
    image.thumbnail(LARGEST, Image.Resampling.BICUBIC, reducing_gap=2.0)
    return np.array(image)
