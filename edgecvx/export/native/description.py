"""What stands in a file of the native engine, as values: a network of fixed structure, layer by layer.

``writer`` makes a file of them and ``parser`` gets them back; ``docs/native-file.md`` says what each of them means.
Maps are ``[height, width, channels]`` everywhere. Arrays lie here as they do in the file.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError
from edgecvx.spec import Activation, InputKind, PreprocessSpec, Task, check_image_size

Floats: TypeAlias = NDArray[np.float32]

STAGES = 4
EXPANSION = 4
"""How many times as wide a block is between fc1 and fc2."""
KERNELS = (3, 5, 7)
"""Of depthwise convolutions."""
MOST_CHANNELS, MOST_BLOCKS, MOST_CLASSES, MOST_BATCH, MOST_TAPS = 4096, 64, 65536, 65536, 4096
MOST_TEXT = 4096
"""Bytes of a name, of a licence, of a label."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Norm:
    """A LayerNorm over the channels of each pixel, with a scale and a shift per channel."""

    epsilon: float
    scale: Floats
    shift: Floats

    def __post_init__(self) -> None:
        check_positive("a LayerNorm's epsilon", self.epsilon)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FloatLinear:
    """A product with a matrix, in floats."""

    weights: Floats
    """``[outputs, inputs]``; a convolution's inputs run over rows, columns, channels."""
    bias: Floats


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Int8Linear:
    """A product with a matrix, in integers: its input is rounded to int8 first, on one grid."""

    scale: float
    zero_point: int
    weights: NDArray[np.int8]
    """``[outputs, inputs]``, as those of ``FloatLinear``."""
    scales: Floats
    """One per output."""
    bias: Floats

    def __post_init__(self) -> None:
        check_positive("the scale of a layer's input", self.scale)
        check_within("a zero point", self.zero_point, -128, 127)


Linear: TypeAlias = FloatLinear | Int8Linear


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StemConvolution:
    """One of the convolutions that read the picture."""

    outputs: int
    inputs: int
    kernel: int
    stride: int
    pad: int
    linear: Linear

    def __post_init__(self) -> None:
        check_within("the width of a stem convolution", self.outputs, 1, MOST_CHANNELS)
        check_within("the kernel of a stem convolution", self.kernel, 1, 8)
        check_within("the stride of a stem convolution", self.stride, 1, 8)
        check_within("the padding of a stem convolution", self.pad, 0, self.kernel - 1)

    def side(self, below: int) -> int:
        """The side of the map it returns."""
        return (below + 2 * self.pad - self.kernel) // self.stride + 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Grn:
    """Global response normalization, without its base."""

    epsilon: float
    """Beside the mean of root mean squares."""
    gamma: Floats

    def __post_init__(self) -> None:
        check_positive("GRN's epsilon", self.epsilon)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Block:
    """Depthwise convolution, LayerNorm, fc1, activation function, GRN, fc2, residual sum."""

    weights: Floats
    """Of the depthwise convolution, ``[kernel * kernel, channels]``."""
    bias: Floats
    norm: Norm
    fc1: Linear
    high: float
    """How far the activation function reached when calibrated."""
    grn: Grn | None
    base: Floats
    """GRN's base; without GRN, a factor per channel."""
    fc2: Linear

    def __post_init__(self) -> None:
        check_positive("how far an activation function reached", self.high)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Downsample:
    """Between two stages: LayerNorm, and a 2x2 convolution with stride 2."""

    norm: Norm
    linear: Linear


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stage:
    """The blocks that share one width."""

    channels: int
    kernel: int
    """Of its depthwise convolutions."""
    downsample: Downsample | None
    """None for the first."""
    blocks: tuple[Block, ...]


class Point(enum.IntEnum):
    """Where in the network an inner tensor is."""

    STEM = 0
    DOWNSAMPLE = 1
    DEPTHWISE = 2
    ACTIVATION = 3
    BLOCK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Tap:
    """An inner tensor that is returned behind the task's outputs."""

    name: str
    point: Point
    stage: int = 0
    block: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Description:
    """A whole file."""

    name: str
    license: str
    """Empty where nobody knows."""
    task: Task
    input_kind: InputKind
    batch: int
    classes: int
    """0 where the task is not to classify."""
    labels: tuple[str, ...]
    preprocess: PreprocessSpec
    """Its size is the picture's."""
    activation: Activation
    stem: tuple[StemConvolution, ...]
    stem_norm: Norm
    stages: tuple[Stage, ...]
    head_norm: Norm | None
    """None where the task is features."""
    classifier: Linear | None
    taps: tuple[Tap, ...] = ()

    def __post_init__(self) -> None:
        check_image_size(self.preprocess.size)
        check_within("the batch", self.batch, 1, MOST_BATCH)
        check_sizes(
            [stage.channels for stage in self.stages],
            [len(stage.blocks) for stage in self.stages],
            [stage.kernel for stage in self.stages],
        )
        self._check_head()
        self._check_stem()
        check_within("the number of inner tensors to return", len(self.taps), 0, MOST_TAPS)
        for tap in self.taps:
            self._check_tap(tap)

    @property
    def sides(self) -> tuple[int, ...]:
        """Of the maps of the four stages."""
        side = self.preprocess.size
        for convolution in self.stem:
            side = convolution.side(side)
        return tuple(side >> stage for stage in range(STAGES))

    def _check_head(self) -> None:
        classifies = self.task is Task.CLASSIFY
        check_within("the number of classes", self.classes, int(classifies), MOST_CLASSES if classifies else 0)
        if len(self.labels) not in (0, self.classes):
            raise EdgecvxError(f"{len(self.labels)} labels do not go with {self.classes} classes")
        if (self.classifier is None) is classifies or (self.head_norm is None) is not (self.task is Task.FEATURES):
            raise EdgecvxError(f"the head is not that of a network for {self.task.value}")

    def _check_stem(self) -> None:
        check_within("the number of stem convolutions", len(self.stem), 1, 2)
        widths = [3, *(convolution.outputs for convolution in self.stem)]
        if [convolution.inputs for convolution in self.stem] != widths[:-1] or widths[-1] != self.stages[0].channels:
            raise EdgecvxError(f"a stem of widths {widths} does not go with a network of {self.stages[0].channels}")
        if self.sides[-1] < 1:
            raise EdgecvxError(f"a picture of {self.preprocess.size} pixels leaves nothing for the last stage")

    def _check_tap(self, tap: Tap) -> None:
        first = int(tap.point is Point.DOWNSAMPLE)
        check_within(f"the stage of {tap.name!r}", tap.stage, first, 0 if tap.point is Point.STEM else STAGES - 1)
        inside = tap.point in (Point.DEPTHWISE, Point.ACTIVATION, Point.BLOCK)
        most = len(self.stages[tap.stage].blocks) - 1 if inside else 0
        check_within(f"the block of {tap.name!r}", tap.block, 0, most)


def check_sizes(channels: Sequence[int], depths: Sequence[int], kernels: Sequence[int]) -> None:
    """Refuses a network the engine does not have.

    Raises:
        EdgecvxError: With what it is.
    """
    if not len(channels) == len(depths) == len(kernels) == STAGES:
        raise EdgecvxError(f"a network has {STAGES} stages, and this one {len(channels)}")
    for width, depth, kernel in zip(channels, depths, kernels, strict=True):
        check_within("the width of a stage", width, 1, MOST_CHANNELS)
        check_within("the number of blocks of a stage", depth, 1, MOST_BLOCKS)
        if kernel not in KERNELS:
            raise EdgecvxError(
                f"a depthwise kernel is {kernel}x{kernel}, and the native engine has 3x3, 5x5 and 7x7: "
                "take another target for this network"
            )


def check_within(what: str, number: int, low: int, high: int) -> None:
    """Refuses a number outside its limits.

    Raises:
        EdgecvxError: It lies outside.
    """
    if not low <= number <= high:
        raise EdgecvxError(f"{what} is {number}, and has to be from {low} to {high}")


def check_positive(what: str, number: float) -> None:
    """Refuses what is no positive number in float32.

    Raises:
        EdgecvxError: It is none.
    """
    with np.errstate(over="ignore", under="ignore"):
        stored = float(np.float32(number))
    if not 0.0 < stored < math.inf:
        raise EdgecvxError(f"{what} is {number}, and has to be a positive number that float32 can hold")
