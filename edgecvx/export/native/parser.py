"""From the bytes of a file back to its description; nothing in them is trusted."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, EdgecvxError, Page, about
from edgecvx.export.native.description import (
    EXPANSION,
    MOST_CLASSES,
    MOST_TAPS,
    MOST_TEXT,
    STAGES,
    Block,
    Description,
    Downsample,
    FloatLinear,
    Floats,
    Grn,
    Int8Linear,
    Linear,
    Norm,
    Point,
    Stage,
    StemConvolution,
    Tap,
    check_sizes,
    check_within,
)
from edgecvx.export.native.frame import ALIGNED, HEAD, description_of
from edgecvx.export.native.writer import ACTIVATIONS, EXIFS, INPUTS, INTERPOLATIONS, RESIZES, TASKS
from edgecvx.spec import PreprocessSpec, Task

T = TypeVar("T")


@about(Page.NATIVE_FILE)
def read(path: Path) -> Description:
    """What stands in a file.

    Raises:
        ArtifactError: It is missing, or no file the engine could open.
    """
    try:
        return parse(path.read_bytes())
    except (OSError, ArtifactError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise ArtifactError(f"{path.name} cannot be read as a file of the native engine: {reason}") from error


def parse(content: bytes) -> Description:
    """What stands in the bytes of a file.

    Raises:
        ArtifactError: They are no file the engine could open.
    """
    try:
        return _description(_Cursor(content))
    except EdgecvxError as error:
        raise ArtifactError(str(error)) from error


class _Cursor:
    """Goes through a description, word by word."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._words, self._at = description_of(content), 0

    @property
    def left(self) -> int:
        """Bytes not read yet."""
        return len(self._words) - self._at

    def _take(self, size: int) -> memoryview:
        if size > self.left:
            raise ArtifactError("its description ends too early")
        self._at += size
        return self._words[self._at - size : self._at]

    def u(self) -> int:
        return int.from_bytes(self._take(4), "little")

    def us(self, count: int) -> tuple[int, ...]:
        return tuple(self.u() for _ in range(count))

    def i(self) -> int:
        return int.from_bytes(self._take(4), "little", signed=True)

    def f(self) -> float:
        return float(struct.unpack("<f", self._take(4))[0])

    def ds(self, count: int) -> tuple[float, ...]:
        return struct.unpack(f"<{count}d", self._take(8 * count))

    def one(self, what: str, known: Sequence[T]) -> T:
        """What a number stands for."""
        number = self.u()
        check_within(what, number, 0, len(known) - 1)
        return known[number]

    def s(self) -> str:
        size = self.u()
        check_within("the length of a text", size, 0, MOST_TEXT)
        content = bytes(self._take(-(-size // 4) * 4))
        if 0 in content[:size] or any(content[size:]):
            raise ArtifactError(f"its text {content!r} is not of {size} bytes")
        try:
            return content[:size].decode()
        except UnicodeDecodeError:
            raise ArtifactError(f"its text {content!r} is not UTF-8") from None

    def floats(self, *shape: int) -> Floats:
        return np.asarray(self._tensor(self.u(), "<f4", shape), np.float32)

    def floats_or(self, missing: float, size: int) -> Floats:
        """A number per channel, which may be left out where it is the same for all."""
        place = self.u()
        if not place:
            return np.full(size, missing, np.float32)
        return np.asarray(self._tensor(place, "<f4", (size,)), np.float32)

    def bytes(self, *shape: int) -> NDArray[np.int8]:
        return np.asarray(self._tensor(self.u(), "<i1", shape), np.int8)

    def _tensor(self, place: int, kind: str, shape: tuple[int, ...]) -> NDArray[Any]:
        dtype, begin, count = np.dtype(kind), ALIGNED * place, math.prod(shape)
        if begin < HEAD.size + len(self._words) or begin + count * dtype.itemsize > len(self._content):
            raise ArtifactError(
                f"a tensor of shape {shape} at byte {begin} does not lie in its {len(self._content)} bytes"
            )
        return np.frombuffer(self._content, dtype, count, begin).reshape(shape)


def _description(words: _Cursor) -> Description:
    name, license = words.s(), words.s()
    task, kind = words.one("the task", TASKS), words.one("the kind of input", INPUTS)
    batch, size, classes = words.us(3)
    labels = words.u()
    check_within("the number of labels", labels, 0, MOST_CLASSES)
    texts = tuple(words.s() for _ in range(labels))
    preprocess = _preprocess(words, size)
    activation = words.one("the activation function", ACTIVATIONS)
    channels, depths, kernels = (words.us(STAGES) for _ in range(3))
    check_sizes(channels, depths, kernels)
    count = words.u()
    check_within("the number of stem convolutions", count, 1, 2)
    described = Description(
        name=name,
        license=license,
        task=task,
        input_kind=kind,
        batch=batch,
        classes=classes,
        labels=texts,
        preprocess=preprocess,
        activation=activation,
        stem=tuple(_stem(words) for _ in range(count)),
        stem_norm=_norm(words, channels[0]),
        stages=_stages(words, channels, depths, kernels),
        head_norm=None if task is Task.FEATURES else _norm(words, channels[-1]),
        classifier=_linear(words, classes, channels[-1]) if task is Task.CLASSIFY else None,
        taps=_taps(words),
    )
    if words.left:
        raise ArtifactError(f"its description has {words.left} bytes behind its end")
    return described


def _preprocess(words: _Cursor, size: int) -> PreprocessSpec:
    resize, interpolation = words.one("the way of resizing", RESIZES), words.one("the interpolation", INTERPOLATIONS)
    exif = words.one("the treatment of EXIF", EXIFS)
    crop_pct, m0, m1, m2, s0, s1, s2 = words.ds(7)
    return PreprocessSpec(
        size=size,
        crop_pct=crop_pct,
        resize=resize,
        interpolation=interpolation,
        mean=(m0, m1, m2),
        std=(s0, s1, s2),
        exif=exif,
    )


def _stem(words: _Cursor) -> StemConvolution:
    outputs, inputs, kernel, stride, pad = words.us(5)
    linear = _linear(words, outputs, kernel * kernel * inputs)
    return StemConvolution(outputs=outputs, inputs=inputs, kernel=kernel, stride=stride, pad=pad, linear=linear)


def _stages(
    words: _Cursor, channels: Sequence[int], depths: Sequence[int], kernels: Sequence[int]
) -> tuple[Stage, ...]:
    stages = []
    for index, (width, depth, kernel) in enumerate(zip(channels, depths, kernels, strict=True)):
        downsample = _downsample(words, channels[index - 1], width) if index else None
        blocks = tuple(_block(words, width, kernel) for _ in range(depth))
        stages.append(Stage(channels=width, kernel=kernel, downsample=downsample, blocks=blocks))
    return tuple(stages)


def _downsample(words: _Cursor, below: int, channels: int) -> Downsample:
    return Downsample(norm=_norm(words, below), linear=_linear(words, channels, 4 * below))


def _block(words: _Cursor, channels: int, kernel: int) -> Block:
    inner = EXPANSION * channels
    return Block(  # in the order of the file
        weights=words.floats(kernel * kernel, channels),
        bias=words.floats(channels),
        norm=_norm(words, channels),
        fc1=_linear(words, inner, channels),
        high=words.f(),
        grn=Grn(epsilon=words.f(), gamma=words.floats(inner)) if words.one("GRN", (False, True)) else None,
        base=words.floats_or(1.0, inner),
        fc2=_linear(words, channels, inner),
    )


def _norm(words: _Cursor, channels: int) -> Norm:
    return Norm(epsilon=words.f(), scale=words.floats_or(1.0, channels), shift=words.floats_or(0.0, channels))


def _linear(words: _Cursor, outputs: int, inputs: int) -> Linear:
    if words.one("the kind of a layer", ("float", "int8")) == "float":
        return FloatLinear(weights=words.floats(outputs, inputs), bias=words.floats(outputs))
    return Int8Linear(
        scale=words.f(),
        zero_point=words.i(),
        weights=words.bytes(outputs, inputs),
        scales=words.floats(outputs),
        bias=words.floats(outputs),
    )


def _taps(words: _Cursor) -> tuple[Tap, ...]:
    count = words.u()
    check_within("the number of inner tensors to return", count, 0, MOST_TAPS)
    return tuple(_tap(words) for _ in range(count))


def _tap(words: _Cursor) -> Tap:
    return Tap(
        name=words.s(), point=words.one("the place of an inner tensor", tuple(Point)), stage=words.u(), block=words.u()
    )
