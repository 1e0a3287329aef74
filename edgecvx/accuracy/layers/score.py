"""One inner tensor of an artifact against FP32's: sums over the pictures, and the figures they give."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.accuracy.layers.reference import Tensor
from edgecvx.proof.metrics import sqnr_db
from edgecvx.results.accuracy import LayerError
from edgecvx.results.layers import LIMIT_DB

Array = NDArray[Any]


@dataclass(slots=True)
class Score:
    """Sums over the pictures for one tensor, in float64."""

    signal: float = 0.0
    noise: float = 0.0
    dot: float = 0.0
    power: float = 0.0
    local_signal: float = 0.0
    worst: float = 0.0
    low: float = float("inf")
    high: float = float("-inf")
    not_finite: int = 0
    by_channel: Array = field(default_factory=lambda: np.zeros(1))
    """Local noise per channel."""

    def add(self, actual: Array, expected: Array, born: Array) -> None:
        """Takes one batch of the tensor: the artifact's, FP32's, and what FP32 makes of the artifact's own inputs."""
        a, r, b = (x.astype(np.float64) for x in (actual, expected, born))
        fine = np.isfinite(a)
        self.not_finite += int(a.size - fine.sum())
        if not fine.all():
            # A value that is not finite counts as one that is lost: as wrong as the signal is large.
            a = np.where(fine, a, 2 * r)
        self.signal += float((r * r).sum())
        self.noise += float(((a - r) ** 2).sum())
        self.dot += float((a * r).sum())
        self.power += float((a * a).sum())
        self.worst = max(self.worst, float(np.abs(a - r).max()))
        self.low, self.high = min(self.low, float(r.min())), max(self.high, float(r.max()))
        # Where the layer was fed with what is not finite, its result says nothing about the layer.
        judged = np.isfinite(b)
        b = np.where(judged, b, 0.0)
        error = np.where(judged, np.where(fine, a, 2 * b) - b, 0.0) ** 2
        self.local_signal += float((b * b).sum())
        self.by_channel = self.by_channel + error.sum(axis=tuple(i for i in range(error.ndim) if i != 1))

    def result(self, tensor: Tensor, depth: int) -> LayerError:
        """The figures of all pictures so far."""
        local_noise = float(self.by_channel.sum())
        channel = int(self.by_channel.argmax())
        norm = (self.signal * self.power) ** 0.5
        return LayerError(
            name=tensor.name,
            kind=tensor.kind,
            depth=depth,
            sqnr_db=_sqnr(self.signal, self.noise),
            local_sqnr_db=_sqnr(self.local_signal, local_noise),
            cosine=min(1.0, self.dot / norm) if norm > 0 else float(self.signal == self.power),
            max_error_of_range=self._worst_of_range(),
            not_finite=self.not_finite,
            channel=channel,
            channel_share=float(self.by_channel[channel]) / local_noise if local_noise > 0 else 0.0,
        )

    def _worst_of_range(self) -> float | None:
        if self.not_finite:
            return None
        spread = self.high - self.low
        return self.worst / spread if spread > 0 else float(self.worst > 0)


def _sqnr(signal: float, noise: float) -> float | None:
    """In decibels; None where there is no noise at all."""
    decibels = sqnr_db(signal, noise)
    return None if decibels is None else min(max(decibels, -LIMIT_DB), LIMIT_DB)
