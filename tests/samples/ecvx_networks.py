"""Random small networks as files of the native engine, without torch: a seed gives the same bytes everywhere.

What they look like is drawn too, and can be said: ``random_file(7, task=Task.FEATURES, integers=0.0)``. Widths are such
that many remainders of a kernel's loop come up. A width of 1 is drawn for the last of several maps alone: a LayerNorm
over one channel returns the same for every picture, and a network behind it would prove nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from ecvx_reference import answer
from numpy.typing import NDArray

from edgecvx.export.native.description import (
    EXPANSION,
    KERNELS,
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
    Stage,
    StemConvolution,
)
from edgecvx.export.native.points import inner_taps
from edgecvx.export.native.writer import write
from edgecvx.graph.grids import BYTES, SMALLEST_SCALE, Grid, grid_of_range, quantize_weight
from edgecvx.spec import Activation, InputKind, PreprocessSpec, Task

Array = NDArray[Any]
T = TypeVar("T")

WIDTHS = (5, 8, 12, 17, 24, 32, 40)
STEMS: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((4, 4, 0),),
    ((3, 2, 1), (3, 2, 1)),
    ((7, 4, 3),),
    ((2, 2, 0), (2, 2, 0)),
    ((8, 4, 2),),
)
"""Kernel, stride and padding of each convolution; the first two are those of real networks."""


@dataclass(frozen=True, kw_only=True)
class Choices:
    """What a network looks like."""

    task: Task
    input_kind: InputKind
    batch: int
    size: int
    classes: int
    """Where the task is to classify."""
    labelled: bool
    dims: tuple[int, ...]
    depths: tuple[int, ...]
    kernels: tuple[int, ...]
    stem: tuple[tuple[int, int, int], ...]
    stem_mid: int
    """Width between two stem convolutions."""
    activation: Activation
    grn: bool
    integers: float
    """The part of the layers that is INT8, about."""
    taps: int
    """How many inner tensors are returned, at most."""


def random_file(seed: int, **choices: Any) -> bytes:
    """The bytes of a network; keywords are fields of ``Choices``, all others are drawn."""
    return write(random_description(seed, **choices))


def random_description(seed: int, **choices: Any) -> Description:
    """A network whose grids and reaches are those of its own tensors."""
    draw = np.random.default_rng(seed)
    chosen = replace(_choices(draw), **choices)
    described = _floats(draw, chosen)
    ranges: dict[str, tuple[float, float]] = {}

    def watch(name: str, array: Array) -> None:
        ranges[name] = min(0.0, float(array.min())), max(0.0, float(array.max()))

    answer(described, image_of(described, seed, pictures=2), watch)
    described = _quantized(draw, described, chosen.integers, ranges)
    taps = list(inner_taps(described).values())
    kept = sorted(draw.permutation(len(taps))[: chosen.taps])
    return replace(described, taps=tuple(taps[index] for index in kept))


def image_of(described: Description, seed: int = 0, pictures: int | None = None) -> Array:
    """Seeded pictures as a file takes them, ``[pictures, size, size, 3]``; by default as many as it was written for."""
    draw, size = np.random.default_rng([seed, 1]), described.preprocess.size
    shape = (described.batch if pictures is None else pictures, size, size, 3)
    if described.input_kind is InputKind.UINT8:
        return draw.integers(0, 256, shape, np.uint8)
    return draw.standard_normal(shape, np.float32)


def _choices(draw: np.random.Generator) -> Choices:
    def one(*values: T) -> T:
        return values[int(draw.integers(len(values)))]

    task = one(*Task)
    last = (1, *WIDTHS) if task is Task.FEATURES else WIDTHS
    return Choices(
        task=task,
        input_kind=one(*InputKind),
        batch=one(1, 2, 3),
        size=one(32, 64),
        classes=one(1, 2, 10, 37),
        labelled=one(False, True),
        dims=(*(one(*WIDTHS) for _ in range(STAGES - 1)), one(*last)),
        depths=tuple(one(1, 1, 2) for _ in range(STAGES)),
        kernels=tuple(one(*KERNELS) for _ in range(STAGES)),
        stem=one(*STEMS),
        stem_mid=one(1, 4, 12, 24),
        activation=one("gelu", "gelu_tanh", "silu"),
        grn=one(True, False),
        integers=one(0.0, 0.5, 0.8, 1.0, 1.0),
        taps=one(0, 1, 3),
    )


def _floats(draw: np.random.Generator, chosen: Choices) -> Description:
    """The network before anything of it is INT8."""
    classifies, last = chosen.task is Task.CLASSIFY, chosen.dims[-1]
    labels = tuple(f"class {index} ÄΩ" for index in range(chosen.classes)) if classifies and chosen.labelled else ()
    return Description(
        name=f"random{int(draw.integers(1000))}",
        license="Apache-2.0",
        task=chosen.task,
        input_kind=chosen.input_kind,
        batch=chosen.batch,
        classes=chosen.classes if classifies else 0,
        labels=labels,
        preprocess=PreprocessSpec(size=chosen.size),
        activation=chosen.activation,
        stem=_stem(draw, chosen),
        stem_norm=_norm(draw, chosen.dims[0]),
        stages=tuple(_stage(draw, chosen, index) for index in range(STAGES)),
        head_norm=None if chosen.task is Task.FEATURES else _norm(draw, last),
        classifier=_linear(draw, chosen.classes, last) if classifies else None,
    )


def _stem(draw: np.random.Generator, chosen: Choices) -> tuple[StemConvolution, ...]:
    widths = [3, *[chosen.stem_mid] * (len(chosen.stem) - 1), chosen.dims[0]]
    layers = []
    for (kernel, stride, pad), inputs, outputs in zip(chosen.stem, widths, widths[1:], strict=False):
        linear = _linear(draw, outputs, kernel * kernel * inputs)
        layers.append(
            StemConvolution(outputs=outputs, inputs=inputs, kernel=kernel, stride=stride, pad=pad, linear=linear)
        )
    return tuple(layers)


def _stage(draw: np.random.Generator, chosen: Choices, index: int) -> Stage:
    channels, kernel, downsample = chosen.dims[index], chosen.kernels[index], None
    if index:
        below = chosen.dims[index - 1]
        downsample = Downsample(norm=_norm(draw, below), linear=_linear(draw, channels, 4 * below))
    blocks = tuple(_block(draw, channels, kernel, grn=chosen.grn) for _ in range(chosen.depths[index]))
    return Stage(channels=channels, kernel=kernel, downsample=downsample, blocks=blocks)


def _block(draw: np.random.Generator, channels: int, kernel: int, *, grn: bool) -> Block:
    inner = EXPANSION * channels
    return Block(
        weights=_normal(draw, kernel * kernel, channels) / np.float32(kernel),
        bias=_normal(draw, channels) / np.float32(10),
        norm=_norm(draw, channels),
        fc1=_linear(draw, inner, channels),
        high=1.0,
        grn=Grn(epsilon=1e-7, gamma=_normal(draw, inner) / np.float32(2)) if grn else None,
        base=np.float32(1) + _normal(draw, inner) / np.float32(8),
        fc2=_linear(draw, channels, inner),
    )


def _norm(draw: np.random.Generator, channels: int) -> Norm:
    scale, shift = np.float32(1) + _normal(draw, channels) / np.float32(5), _normal(draw, channels) / np.float32(5)
    return Norm(epsilon=1e-6, scale=scale, shift=shift)


def _linear(draw: np.random.Generator, outputs: int, inputs: int) -> FloatLinear:
    weights = _normal(draw, outputs, inputs) / np.float32(inputs**0.5)
    return FloatLinear(weights=weights, bias=_normal(draw, outputs) / np.float32(10))


def _normal(draw: np.random.Generator, *shape: int) -> Floats:
    return draw.standard_normal(shape, np.float32)


def _quantized(
    draw: np.random.Generator, described: Description, part: float, ranges: dict[str, tuple[float, float]]
) -> Description:
    """With some layers in INT8, and what calibration has to say."""

    def into(linear: Linear, name: str) -> Linear:
        bytes_in = name == "stem.0" and described.input_kind is InputKind.UINT8
        grid = BYTES if bytes_in else grid_of_range(*ranges[f"{name}.input"], symmetric=False)
        return _int8(linear, grid) if draw.random() < part else linear

    def stage_of(stage: Stage, index: int) -> Stage:
        name, downsample = f"stages.{index}", stage.downsample
        if downsample is not None:
            downsample = replace(downsample, linear=into(downsample.linear, f"{name}.downsample.1"))
        blocks = tuple(block_of(block, f"{name}.blocks.{number}") for number, block in enumerate(stage.blocks))
        return replace(stage, downsample=downsample, blocks=blocks)

    def block_of(block: Block, name: str) -> Block:
        high = max(*map(abs, ranges[f"{name}.mlp.act"]), SMALLEST_SCALE)
        fc1, fc2 = into(block.fc1, f"{name}.mlp.fc1"), into(block.fc2, f"{name}.mlp.fc2")
        return replace(block, fc1=fc1, high=float(np.float32(high)), fc2=fc2)

    return replace(
        described,
        stem=tuple(replace(s, linear=into(s.linear, f"stem.{i}")) for i, s in enumerate(described.stem)),
        stages=tuple(stage_of(stage, index) for index, stage in enumerate(described.stages)),
        classifier=None if described.classifier is None else into(described.classifier, "logits"),
    )


def _int8(linear: Linear, grid: Grid) -> Int8Linear:
    weight = quantize_weight(linear.weights)
    return Int8Linear(
        scale=grid.scale,
        zero_point=grid.zero_point,
        weights=weight.values,
        scales=weight.scales,
        bias=linear.bias,
    )
