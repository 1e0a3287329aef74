"""What a file of the native engine computes, in numpy and float64: what the engine is held to.

Integer layers are exact, as ``docs/native-file.md`` has them. Between fc1 and fc2 nothing is rounded here, where the
engine keeps 16-bit integers. Small pictures only: it is as slow as it is plain.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.export.native.description import (
    Block,
    Description,
    Downsample,
    Grn,
    Int8Linear,
    Linear,
    Norm,
    Point,
    StemConvolution,
)
from edgecvx.export.native.parser import parse
from edgecvx.spec import Activation

Array = NDArray[Any]
Watch = Callable[[str, Array], None]
"""Is shown what each layer reads, by ``{layer}.input``, and every inner tensor by its canonical name."""


def answer(file: bytes | Description, image: Array, watch: Watch | None = None) -> list[Array]:
    """What the engine returns for some pictures: the task's outputs, and behind them the taps.

    Args:
        file: The bytes of an ``.ecvx`` file, or what stands in them.
        image: ``[pictures, size, size, 3]``, any number of pictures, of the type the file takes.
        watch: Is shown the tensors in between.
    """
    described = parse(file) if isinstance(file, bytes) else file
    run = _Run(described, watch)
    outputs = run.network(image.astype(np.float64))
    return [*outputs, *(run.seen[tap.point, tap.stage, tap.block] for tap in described.taps)]


class _Run:
    """One pass through a network; remembers every tensor that can be tapped."""

    def __init__(self, described: Description, watch: Watch | None) -> None:
        self._described = described
        self._watch = watch or (lambda name, array: None)
        self.seen: dict[tuple[Point, int, int], Array] = {}

    def network(self, x: Array) -> list[Array]:
        described = self._described
        for index, layer in enumerate(described.stem):
            x = self._convolution(layer, f"stem.{index}", x)
        x = self._note(f"stem.{len(described.stem)}", Point.STEM, 0, 0, norm(described.stem_norm, x))
        maps = []
        for index, stage in enumerate(described.stages):
            if stage.downsample is not None:
                name = f"stages.{index}.downsample.1"
                x = self._note(name, Point.DOWNSAMPLE, index, 0, self._downsample(stage.downsample, name, x))
            for number, block in enumerate(stage.blocks):
                x = self._block(block, stage.kernel, index, number, x)
            maps.append(x)
        return self._head(maps)

    def _convolution(self, layer: StemConvolution, name: str, x: Array) -> Array:
        self._watch(f"{name}.input", x)
        windows = patches(x, layer.kernel, layer.stride, layer.pad)
        return product(layer.linear, windows)

    def _downsample(self, layer: Downsample, name: str, x: Array) -> Array:
        x = norm(layer.norm, x)
        self._watch(f"{name}.input", x)
        return product(layer.linear, patches(x, 2, 2, 0))

    def _block(self, block: Block, kernel: int, stage: int, number: int, x: Array) -> Array:
        name, at = f"stages.{stage}.blocks.{number}", (stage, number)
        y = self._note(f"{name}.conv_dw", Point.DEPTHWISE, *at, depthwise(block, kernel, x))
        y = norm(block.norm, y)
        self._watch(f"{name}.mlp.fc1.input", y)
        y = activation(self._described.activation, product(block.fc1, y))
        y = self._note(f"{name}.mlp.act", Point.ACTIVATION, *at, y)
        y = y * response(block.grn, block.base, y)
        self._watch(f"{name}.mlp.fc2.input", y)
        return self._note(name, Point.BLOCK, *at, x + product(block.fc2, y))

    def _head(self, maps: list[Array]) -> list[Array]:
        described = self._described
        if described.head_norm is None:
            return maps
        x = norm(described.head_norm, maps[-1].mean(axis=(1, 2)))
        if described.classifier is None:
            return [x]
        self._watch("logits.input", x)
        return [product(described.classifier, x)]

    def _note(self, name: str, point: Point, stage: int, block: int, array: Array) -> Array:
        self._watch(name, array)
        self.seen[point, stage, block] = array
        return array


def norm(layer: Norm, x: Array) -> Array:
    """LayerNorm over the last axis."""
    centred = x - x.mean(axis=-1, keepdims=True)
    deviation = np.sqrt((centred**2).mean(axis=-1, keepdims=True) + layer.epsilon)
    return np.asarray(centred / deviation * layer.scale.astype(np.float64) + layer.shift)


def product(layer: Linear, x: Array) -> Array:
    """``[..., inputs]`` to ``[..., outputs]``; a sum of integers is exact in float64."""
    weights = layer.weights.astype(np.float64)
    if not isinstance(layer, Int8Linear):
        return np.asarray(x @ weights.T + layer.bias)
    q = np.clip(np.rint(x / layer.scale) + layer.zero_point, -128, 127)
    sums = (q - layer.zero_point) @ weights.T
    return np.asarray(layer.scale * layer.scales.astype(np.float64) * sums + layer.bias)


def patches(x: Array, kernel: int, stride: int, pad: int) -> Array:
    """What each output of a convolution reads: rows, columns, channels. A padded 0 is the zero point of any grid."""
    padded = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (kernel, kernel), axis=(1, 2))
    windows = windows[:, ::stride, ::stride].transpose(0, 1, 2, 4, 5, 3)
    return np.asarray(windows.reshape(*windows.shape[:3], -1))


def depthwise(block: Block, kernel: int, x: Array) -> Array:
    """Each channel with its own kernel; the map keeps its size."""
    windows = patches(x, kernel, 1, kernel // 2).reshape(*x.shape[:3], kernel * kernel, x.shape[-1])
    return np.asarray((windows * block.weights.astype(np.float64)).sum(axis=3) + block.bias)


def activation(kind: Activation, x: Array) -> Array:
    """GELU, GELU by tanh, or SiLU."""
    if kind == "silu":
        return np.asarray(x / (1 + np.exp(-x)))
    if kind == "gelu_tanh":
        return np.asarray(0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    erf = np.asarray(np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)), np.float64)
    return np.asarray(0.5 * x * (1 + erf))


def response(grn: Grn | None, base: Array, x: Array) -> Array:
    """What GRN multiplies each channel with: ``[pictures, 1, 1, channels]``."""
    base = base.astype(np.float64)
    if grn is None:
        return base
    g = np.sqrt((x**2).mean(axis=(1, 2), keepdims=True))
    return np.asarray(base + grn.gamma.astype(np.float64) * g / (g.mean(axis=-1, keepdims=True) + grn.epsilon))
