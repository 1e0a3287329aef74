"""A description as the bytes of a file (``docs/native-file.md``); the same description gives the same bytes."""

from __future__ import annotations

import struct
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.native.description import (
    EXPANSION,
    MOST_TEXT,
    Block,
    Description,
    FloatLinear,
    Linear,
    Norm,
)
from edgecvx.export.native.frame import ALIGNED, HEAD, aligned, framed, padded
from edgecvx.spec import Activation, InputKind, Interpolation, Task

TASKS = (Task.CLASSIFY, Task.FEATURES, Task.EMBED)
INPUTS = (InputKind.FLOAT, InputKind.UINT8)
RESIZES: tuple[Literal["shortest", "squash"], ...] = ("shortest", "squash")
INTERPOLATIONS: tuple[Interpolation, ...] = ("nearest", "bilinear", "bicubic", "lanczos")
EXIFS: tuple[Literal["ignore", "apply"], ...] = ("ignore", "apply")
ACTIVATIONS: tuple[Activation, ...] = ("gelu", "gelu_tanh", "silu")
"""Each at the place of its number in a file."""


def write(description: Description) -> bytes:
    """A whole file.

    Raises:
        ExportError: A text cannot be written, or a tensor has another shape than the network says.
    """
    words = _Words()
    _about(words, description)
    _network(words, description)
    _head(words, description)
    words.u(len(description.taps))
    for tap in description.taps:
        words.s(tap.name)
        words.u(tap.point, tap.stage, tap.block)
    return words.finished()


class _Words:
    """Gathers the description, and the tensors that belong to it."""

    def __init__(self) -> None:
        self._words, self._tensors = bytearray(), bytearray()
        self._places: list[tuple[int, int]] = []
        """Where in the description a tensor's place belongs, and where it is among the tensors."""

    def u(self, *numbers: int) -> None:
        self._words += struct.pack(f"<{len(numbers)}I", *numbers)

    def i(self, number: int) -> None:
        self._words += struct.pack("<i", number)

    def f(self, number: float) -> None:
        self._words += struct.pack("<f", number)

    def d(self, *numbers: float) -> None:
        self._words += struct.pack(f"<{len(numbers)}d", *numbers)

    def s(self, text: str) -> None:
        try:
            content = text.encode()
        except UnicodeEncodeError:
            raise ExportError(f"{text!r} is no text that UTF-8 can hold: change it") from None
        if len(content) > MOST_TEXT or 0 in content:
            raise ExportError(f"{text[:40]!r} cannot be written: at most {MOST_TEXT} bytes, and none of them 0")
        self.u(len(content))
        self._words += padded(content, 4)

    def t(self, array: NDArray[Any], *shape: int, dtype: type[np.generic] = np.float32) -> None:
        """A tensor, which has to be of this shape and type."""
        if array.shape != shape or array.dtype != dtype:
            found, wanted = f"{array.dtype} {array.shape}", f"{np.dtype(dtype)} {shape}"
            raise ExportError(f"a tensor is {found} where {wanted} belongs")
        self._places.append((len(self._words), len(self._tensors)))
        self.u(0)
        self._tensors += padded(array.astype(array.dtype.newbyteorder("<")).tobytes(), ALIGNED)

    def finished(self) -> bytes:
        """The file, its tensors in the order they came in."""
        first = aligned(HEAD.size + len(self._words))
        for word, place in self._places:
            struct.pack_into("<I", self._words, word, (first + place) // ALIGNED)
        return framed(bytes(self._words), bytes(self._tensors))


def _about(words: _Words, described: Description) -> None:
    preprocess = described.preprocess
    words.s(described.name)
    words.s(described.license)
    words.u(TASKS.index(described.task), INPUTS.index(described.input_kind), described.batch, preprocess.size)
    words.u(described.classes, len(described.labels))
    for label in described.labels:
        words.s(label)
    words.u(RESIZES.index(preprocess.resize), INTERPOLATIONS.index(preprocess.interpolation))
    words.u(EXIFS.index(preprocess.exif))
    words.d(preprocess.crop_pct, *preprocess.mean, *preprocess.std)
    words.u(ACTIVATIONS.index(described.activation))


def _network(words: _Words, described: Description) -> None:
    stages = described.stages
    words.u(*(stage.channels for stage in stages))
    words.u(*(len(stage.blocks) for stage in stages))
    words.u(*(stage.kernel for stage in stages))
    words.u(len(described.stem))
    for layer in described.stem:
        words.u(layer.outputs, layer.inputs, layer.kernel, layer.stride, layer.pad)
        _linear(words, layer.linear, layer.outputs, layer.kernel * layer.kernel * layer.inputs)
    _norm(words, described.stem_norm, stages[0].channels)
    below = stages[0].channels
    for stage in stages:
        if stage.downsample is not None:
            _norm(words, stage.downsample.norm, below)
            _linear(words, stage.downsample.linear, stage.channels, 4 * below)
        for block in stage.blocks:
            _block(words, block, stage.channels, stage.kernel)
        below = stage.channels


def _block(words: _Words, block: Block, channels: int, kernel: int) -> None:
    inner = EXPANSION * channels
    words.t(block.weights, kernel * kernel, channels)
    words.t(block.bias, channels)
    _norm(words, block.norm, channels)
    _linear(words, block.fc1, inner, channels)
    words.f(block.high)
    words.u(int(block.grn is not None))
    if block.grn is not None:
        words.f(block.grn.epsilon)
        words.t(block.grn.gamma, inner)
    words.t(block.base, inner)
    _linear(words, block.fc2, channels, inner)


def _head(words: _Words, described: Description) -> None:
    channels = described.stages[-1].channels
    if described.head_norm is not None:
        _norm(words, described.head_norm, channels)
    if described.classifier is not None:
        _linear(words, described.classifier, described.classes, channels)


def _norm(words: _Words, norm: Norm, channels: int) -> None:
    words.f(norm.epsilon)
    words.t(norm.scale, channels)
    words.t(norm.shift, channels)


def _linear(words: _Words, linear: Linear, outputs: int, inputs: int) -> None:
    if isinstance(linear, FloatLinear):
        words.u(0)
        words.t(linear.weights, outputs, inputs)
    else:
        words.u(1)
        words.f(linear.scale)
        words.i(linear.zero_point)
        words.t(linear.weights, outputs, inputs, dtype=np.int8)
        words.t(linear.scales, outputs)
    words.t(linear.bias, outputs)
