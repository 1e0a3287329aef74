"""Steady answers: probabilities averaged over time, and forgotten when the picture changes.

The average is exponential with a time constant in seconds. Weights follow from the time between two frames and not
from their number, so that a file which runs at 8 frames per second settles as fast to the eye as one at 30, and
two side by side can be compared.

A cut (a new picture in a folder, a hand in front of the lens) would otherwise show the old answer for a while after
the picture is gone. It is found by the picture itself and not by the answers, which a bad model may change at every
frame: when the small, blurred picture differs by more than ``CUT`` from the last one, the average starts anew. A wrong
alarm, a lamp that is switched on, costs one unsmoothed frame and nothing else.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from edgecvx_live.values import Pixels

Probabilities = NDArray[np.float64]

CUT = 16.0
"""Mean difference of two pictures, of 255, from which they count as different scenes. In the drawn pictures, whose
objects fill a third of the frame, a wandering camera stays under 6 and another scene differs by 28 to 130."""

_SMALL = (16, 12)


class Smoother:
    """The running average of one model's probabilities."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._average: Probabilities | None = None
        self._at = 0.0

    def update(self, probabilities: Probabilities, at: float) -> Probabilities:
        """Takes in the probabilities of a frame captured ``at`` (seconds); returns the average."""
        old = self._average
        if old is None or self._seconds <= 0 or old.shape != probabilities.shape:
            self._average = probabilities
        else:
            weight = 1 - math.exp(-max(0.0, at - self._at) / self._seconds)
            self._average = old + weight * (probabilities - old)
        self._at = at
        return self._average

    def reset(self) -> None:
        """Forgets everything."""
        self._average = None


class CutDetector:
    """Tells whether a frame shows another scene than the one before."""

    def __init__(self) -> None:
        self._last: NDArray[np.float32] | None = None

    def cut(self, pixels: Pixels) -> bool:
        """Whether this frame starts a scene; the first one does not."""
        image = Image.fromarray(pixels).resize(_SMALL, Image.Resampling.BOX, reducing_gap=1.0)
        small = np.asarray(image, np.float32)
        last, self._last = self._last, small
        return last is not None and float(np.abs(small - last).mean()) > CUT
