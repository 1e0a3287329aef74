"""Probe pictures: a few seeded pictures on which every export is compared with the reference.

They are chosen for what they do to the network rather than for what they show: a natural spectrum, hard edges, a
picture of one colour (every pixel's LayerNorm sees the same vector, GRN a flat map), black, and plain noise.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

NAMES = ("spectrum", "edges", "grey", "black", "noise")


def probe_pictures(size: int) -> NDArray[np.uint8]:
    """The probe pictures, ``[5, size, size, 3]`` RGB bytes, in the order of ``NAMES``."""
    draw = np.random.Generator(np.random.PCG64(0))
    pictures = (
        _spectrum(draw, size),
        _edges(draw, size),
        np.full((size, size, 3), 127, np.uint8),
        np.zeros((size, size, 3), np.uint8),
        draw.integers(0, 256, (size, size, 3), np.uint8),
    )
    return np.stack(pictures)


def _spectrum(draw: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Coloured noise whose amplitude falls with frequency, as in photographs."""
    fy, fx = np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :]
    amplitude = 1.0 / np.maximum(np.hypot(fy, fx), 1.0 / size)
    phases = np.exp(2j * np.pi * draw.random((3, size, size // 2 + 1)))
    planes = np.fft.irfft2(amplitude * phases, s=(size, size))
    planes = planes / np.abs(planes).max(axis=(1, 2), keepdims=True)
    return np.moveaxis(np.clip(127.5 + 127.5 * planes, 0, 255).astype(np.uint8), 0, 2)


def _edges(draw: np.random.Generator, size: int) -> NDArray[np.uint8]:
    """Overlapping discs of flat colour."""
    picture = np.empty((size, size, 3), np.uint8)
    picture[:] = draw.integers(0, 256, 3, np.uint8)
    y, x = np.mgrid[:size, :size]
    for _ in range(12):
        cy, cx = draw.uniform(0, size, 2)
        inside = np.hypot(y - cy, x - cx) < draw.uniform(0.05, 0.35) * size
        picture[inside] = draw.integers(0, 256, 3, np.uint8)
    return picture
