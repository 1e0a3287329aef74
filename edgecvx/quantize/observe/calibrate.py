"""The calibration sweep: pictures through the canonical graph once, in float32, and what was seen of each tensor.

A picture at a time, whatever the graph's batch. What is kept does not grow with their number: figures per channel, and
``ROWS`` sampled pixels of each tensor for each half of the pictures. For femto that is 75 MB, for nano 145 MB, beside
the tensors of the two pictures in flight (45 and 85 MB each at 224).
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.data.streaming import overlapped
from edgecvx.errors import EdgecvxError
from edgecvx.graph.values import for_one_picture, name_of
from edgecvx.graph.writer import serialized
from edgecvx.quantize.observe.observed import HalfStatistics, PointStatistics, Statistics
from edgecvx.runtimes import open_session
from edgecvx.runtimes.base import Session

Array = NDArray[Any]

ROWS = 256
"""Sampled pixels per tensor and half."""
ROWS_PER_PICTURE = 32
"""The most that one picture brings in, so that a few pictures do not fill the sample with neighbours."""
EXTREMES = 16
"""Pictures per tensor and half whose furthest pixel is kept."""


def calibrate(
    graph: ir.Model,
    pictures: Iterable[Array],
    *,
    on_picture: Callable[[int], None] | None = None,
) -> Statistics:
    """Runs pictures through a canonical graph and gathers what its INT8 forms need to know.

    Args:
        graph: The canonical graph, float.
        pictures: Each as the graph takes it, ``[1, 3, H, W]``; taken one by one, so a generator streams.
        on_picture: Called after each with the number done.

    Raises:
        EdgecvxError: There is no picture, or a value is NaN or infinite.
    """
    points = points_of(graph)
    tensors: dict[str, tuple[_Half, _Half]] = {name: (_Half(), _Half()) for name in dict.fromkeys(points.values())}
    draw = np.random.Generator(np.random.PCG64(0))
    image = name_of(graph.graph.inputs[0])
    done = 0
    with contextlib.closing(_session(graph, tensors)) as session:
        # The next picture is in the network while the tensors of one are gathered.
        for index, (picture, (computed,)) in enumerate(overlapped(pictures, [(session.run, 1)], ahead=1)):
            values = {image: picture, **computed}
            for name, halves in tensors.items():
                halves[half_of(index)].add(_by_channel(values[name]), draw, name, index)
            done = index + 1
            if on_picture is not None:
                on_picture(done)
    if not done:
        raise EdgecvxError("there is no picture to calibrate on")
    gathered = {
        name: PointStatistics(halves=tuple(half.finished() for half in halves if half.pictures))
        for name, halves in tensors.items()
    }
    return Statistics(pictures=done, points={point: gathered[name] for point, name in points.items()})


def points_of(graph: ir.Model) -> dict[str, str]:
    """The tensors that may become INT8, in the order of the graph: the name of the point and of the value."""
    points: dict[str, str] = {}
    for node in graph.graph:
        name = name_of(node.outputs[0])
        if node.op_type in ("Conv", "Gemm"):
            points[f"{name}.input"] = name_of(node.inputs[0])
        if node.op_type in ("Conv", "Gemm", "Gelu") or name.endswith(".mlp.act"):
            points[name] = name
    return points


def half_of(picture: int) -> int:
    """Which half a picture belongs to, by its number: 0 1 1 0 1 0 0 1 and so on, the Thue-Morse sequence.

    Odd and even would do if the order were random. It is not: pictures come one of each class in turn, and an even
    number of classes would put half of the classes into each half.
    """
    return picture.bit_count() & 1


class _Half:
    """Gathers one tensor over the pictures of one half."""

    def __init__(self) -> None:
        self.pictures = 0
        self._low = self._high = self._sum = np.zeros(0)
        self._rows = np.zeros((0, 0), np.float32)
        self._offered = self._pixels = 0
        self._extremes: list[tuple[float, int, float, NDArray[np.float32]]] = []

    def add(self, values: Array, draw: np.random.Generator, name: str, picture: int) -> None:
        """Takes one picture's tensor, ``[C, pixels]``."""
        low, high = values.min(axis=1), values.max(axis=1)
        if not (np.isfinite(low).all() and np.isfinite(high).all()):  # NaN wins every minimum and maximum
            raise EdgecvxError(
                f"{name!r} holds NaN or infinite values in calibration picture {picture + 1}: the weights up to there "
                "are damaged or overflow float32, so no scale can be found"
            )
        mean = values.mean(axis=1, dtype=np.float32).astype(np.float64)
        if not self.pictures:
            self._low, self._high, self._sum = low, high, mean
            self._rows = np.empty((ROWS, len(values)), np.float32)
        else:
            self._low, self._high = np.minimum(self._low, low), np.maximum(self._high, high)
            self._sum = self._sum + mean
        self.pictures += 1
        self._pixels += values.shape[1]
        self._sample(values, draw)
        self._keep_extreme(values, np.maximum(-low, high))

    def _sample(self, values: Array, draw: np.random.Generator) -> None:
        """A reservoir: after any number of pictures, each pixel offered so far is equally likely to be in it."""
        count = min(ROWS_PER_PICTURE, values.shape[1])
        pixels = draw.integers(0, values.shape[1], count)
        order = self._offered + np.arange(count)
        slots = np.where(order < ROWS, order, draw.integers(0, order + 1))
        taken = slots < ROWS
        self._rows[slots[taken]] = values[:, pixels[taken]].T
        self._offered += count

    def _keep_extreme(self, values: Array, reach: Array) -> None:
        """The pixel that reaches furthest, if this picture's is among the furthest of all."""
        channel = int(reach.argmax())
        furthest = float(reach[channel])
        if len(self._extremes) == EXTREMES and furthest <= self._extremes[-1][0]:
            return
        magnitudes = np.abs(values[channel])
        pixel = values[:, int(magnitudes.argmax())].copy()
        # The picture's number decides between equals: arrays have no order.
        entry = (furthest, -self.pictures, float(np.count_nonzero(2 * magnitudes >= furthest)), pixel)
        self._extremes = sorted([*self._extremes, entry], key=lambda e: e[:2], reverse=True)[:EXTREMES]

    def finished(self) -> HalfStatistics:
        return HalfStatistics(
            pictures=self.pictures,
            low=self._low.astype(np.float64),
            high=self._high.astype(np.float64),
            mean=self._sum / self.pictures,
            rows=self._rows[: self._offered],
            pixels=self._pixels,
            extremes=np.stack([pixel for *_, pixel in self._extremes]),
            alike=np.array([alike for _, _, alike, _ in self._extremes]),
        )


def _by_channel(values: Array) -> Array:
    """One picture's tensor as ``[C, pixels]``; a vector is one pixel."""
    return values.reshape(values.shape[1], -1).astype(np.float32, copy=False)


def _session(graph: ir.Model, tensors: Iterable[str]) -> Session:
    """The graph for one picture at a time, returning the tensors that it computes."""
    model = for_one_picture(graph)
    computed = {name_of(v): v for node in model.graph for v in node.outputs}
    model.graph.outputs[:] = [computed[name] for name in tensors if name in computed]
    with tempfile.TemporaryDirectory(prefix="edgecvx-") as folder:
        path = Path(folder) / "calibrate.onnx"
        path.write_bytes(serialized(model))
        return open_session("onnxruntime", path, threads=1, isolated=False)
