"""The calibration pictures: a ``.npy`` of bytes, [N, 224, 224, 3], and how the networks take them."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)


def normalized(path: Path) -> Iterator[np.ndarray]:
    """One picture after the other, [1, 3, 224, 224], as the network was trained with."""
    for pixels in np.load(path, mmap_mode="r"):
        values = (pixels.astype(np.float32) / np.float32(255) - MEAN) / STD
        yield np.ascontiguousarray(values.transpose(2, 0, 1)[None])
