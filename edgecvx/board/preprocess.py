"""What happens to a picture before a network sees it, as values; ``pictures`` does it, and needs Pillow for that."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Preprocess:
    """What a preprocessing says of itself; ``edgecvx.spec.PreprocessSpec`` is one whose values were checked."""

    __slots__ = ("color", "crop_pct", "exif", "interpolation", "mean", "resize", "size", "std")  # by hand: Python 3.9

    size: int
    """The side of the square that the network sees."""
    crop_pct: float
    resize: str
    """``shortest`` or ``squash``."""
    interpolation: str
    """Pillow's filter, in lower case."""
    mean: tuple[float, ...]
    """Of each colour."""
    std: tuple[float, ...]
    """Of each colour."""
    color: str
    exif: str
    """``apply`` or ``ignore``."""

    @property
    def resized(self) -> int:
        """The side a picture is resized to before the centre crop."""
        return math.floor(self.size / self.crop_pct)
