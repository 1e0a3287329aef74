"""Whole networks, and each of their layers alone, against the reference in numpy and float64.

An int8 rounding is a cliff: where two ways of computing a LayerNorm differ in the last bit of a float32, a number may
fall on the other side and differ by a whole step, and what follows differs with it. So a layer is held to the reference
on what the engine itself gave the layer before it, which the engine returns as taps; and whole networks are held to it
loosely, except those of floats, in which there are no cliffs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from ecvx_networks import image_of, random_description
from ecvx_reference import activation, answer, depthwise, norm, patches, product, response
from numpy.typing import NDArray

from edgecvx.export.native.description import Block, Description, FloatLinear, Int8Linear, Linear, Point, Stage
from edgecvx.export.native.points import inner_taps
from edgecvx.export.native.writer import write
from edgecvx.spec import Task

Array = NDArray[Any]
TWO_FORMS = ("avx2",)
"""Kernels of which there is a second form for models whose weights are such as ``narrowed`` makes them."""
PERFECT = 200.0
LEAST: Mapping[Point, float] = {
    Point.STEM: 65.0,
    Point.DOWNSAMPLE: 55.0,
    Point.DEPTHWISE: 70.0,
    Point.ACTIVATION: 50.0,
    Point.BLOCK: 33.0,
}
"""Decibels that a layer keeps on the engine's own inputs.

A depthwise convolution is a sum of 49 floats with 12 bits, and so is a layer that is left float (80 dB,
and what a kernel adds to that is held to 24 bits in ``native_kernels``). The integers of the stem, a downsample and fc1
are exact, but the rounding before them may take the other side in one number of some ten thousand, a step of 1/255 of
the range. An activation is a polynomial in 16 bits. Behind it a factor of 16 bits brings one rounding in some fifty to
the other side. Some of 200 networks have a tensor of few numbers, most of them near 0, whose signal is small beside
what it is made of: one keeps 73 dB of a depthwise convolution, two 53 and 55 dB of an activation."""
STEM_OF_FLOATS = 52.0
"""A stem with 12 bits: of bytes a norm takes a mean that is large beside what it leaves (one of 200 keeps 57 dB), and
before a second convolution in integers one number is rounded to the other side (53.6 dB)."""
FLOATS = 54.0
"""Decibels that a network of floats keeps from end to end: GELU's 1.7e-4 and numbers of 12 bits, some ten times one
behind the other; 59 where pictures are no bytes."""
WHOLE = 20.0
"""Decibels that a small network with integers keeps, whose roundings took other sides in many layers."""
MANY = 32
"""Numbers below which a tensor says nothing of a whole network: one of them may be near 0."""


class Answering(Protocol):
    """An engine here, or elsewhere."""

    @property
    def kernels(self) -> tuple[str, ...]:
        """What its processor can run, best first."""

    def answer(self, model: bytes, images: Array, kernels: str | None = None, threads: int = 1) -> list[Array]:
        """All outputs for some pictures."""


def kept(near: Array, exact: Array) -> float:
    """Signal over noise in decibels."""
    signal, noise = float(np.square(exact).sum()), float(np.square(near - exact).sum())
    if not np.isfinite(noise):
        return -PERFECT
    return PERFECT if noise == 0 else float(10 * np.log10(max(signal, 1e-30) / noise))


def tapped(described: Description) -> Description:
    """The same network, every inner tensor of it returned."""
    return replace(described, taps=tuple(inner_taps(described).values()))


def narrowed(described: Description) -> Description:
    """The same network with INT8 weights that are half as large: no two of them reach more than 128 together."""

    def half(linear: Linear) -> Linear:
        return (
            replace(linear, weights=(linear.weights // 2).astype(np.int8)) if isinstance(linear, Int8Linear) else linear
        )

    def stage_of(stage: Stage) -> Stage:
        down = stage.downsample
        blocks = tuple(replace(block, fc1=half(block.fc1), fc2=half(block.fc2)) for block in stage.blocks)
        return replace(
            stage, downsample=None if down is None else replace(down, linear=half(down.linear)), blocks=blocks
        )

    return replace(
        described,
        stem=tuple(replace(layer, linear=half(layer.linear)) for layer in described.stem),
        stages=tuple(stage_of(stage) for stage in described.stages),
        classifier=None if described.classifier is None else half(described.classifier),
    )


def steps(described: Description, images: Array, outputs: Sequence[Array]) -> Iterator[tuple[Point, str, float]]:
    """What each layer keeps on the inputs that the engine gave it.

    Args:
        described: A network that returns all its inner tensors.
        images: The pictures.
        outputs: What the engine returned for them.

    Yields:
        The layer's kind, its name, and decibels.
    """
    own = 4 if described.task is Task.FEATURES else 1
    seen = {(tap.point, tap.stage, tap.block): array for tap, array in zip(described.taps, outputs[own:], strict=True)}
    if described.task is Task.FEATURES:
        seen |= {(Point.BLOCK, s, len(stage.blocks) - 1): outputs[s] for s, stage in enumerate(described.stages)}
    exact = {key: value.astype(np.float64) for key, value in seen.items()}
    x = images.astype(np.float64)
    for layer in described.stem:
        x = product(layer.linear, patches(x, layer.kernel, layer.stride, layer.pad))
    at = (Point.STEM, 0, 0)
    yield Point.STEM, "stem", kept(exact[at], norm(described.stem_norm, x))
    for s, stage in enumerate(described.stages):
        if stage.downsample is not None:
            x = product(stage.downsample.linear, patches(norm(stage.downsample.norm, exact[at]), 2, 2, 0))
            at = (Point.DOWNSAMPLE, s, 0)
            yield Point.DOWNSAMPLE, f"stage {s}, downsample", kept(exact[at], x)
        for b, block in enumerate(stage.blocks):
            inputs = exact[at], *(exact[point, s, b] for point in (Point.DEPTHWISE, Point.ACTIVATION, Point.BLOCK))
            yield from _block(described, block, stage.kernel, f"stage {s}, block {b}", *inputs)
            at = (Point.BLOCK, s, b)


def _block(
    described: Description, block: Block, kernel: int, name: str, x: Array, mixed: Array, hidden: Array, result: Array
) -> Iterator[tuple[Point, str, float]]:
    """A block's three tensors, each from the one before it."""
    yield Point.DEPTHWISE, f"{name}, depthwise", kept(mixed, depthwise(block, kernel, x))
    wanted = activation(described.activation, product(block.fc1, norm(block.norm, mixed)))
    yield Point.ACTIVATION, f"{name}, activation", kept(hidden, wanted)
    added = product(block.fc2, hidden * response(block.grn, block.base, hidden))
    yield Point.BLOCK, f"{name}, sum", kept(result - x, added)


def faults(engine: Answering, seeds: Sequence[int], **choices: Any) -> list[str]:
    """Random networks on every set of kernels: what is not as it has to be, a sentence each."""
    found: list[str] = []
    for seed in seeds:
        described = tapped(random_description(seed, **choices))
        least = FLOATS if choices.get("integers") == 0.0 else WHOLE
        for kernels in engine.kernels:
            found += _faults(engine, described, seed, kernels, least)
            if kernels in TWO_FORMS:
                found += _faults(engine, narrowed(described), seed, kernels, least)
    return found


def _faults(engine: Answering, described: Description, seed: int, kernels: str, least: float) -> Iterator[str]:
    file, images, name = write(described), image_of(described, seed, pictures=3), f"network {seed} on {kernels}"
    outputs = engine.answer(file, images, kernels)
    floats = any(isinstance(convolution.linear, FloatLinear) for convolution in described.stem)
    for point, layer, decibels in steps(described, images, outputs):
        limit = STEM_OF_FLOATS if point is Point.STEM and floats else LEAST[point]
        if decibels < limit:
            yield f"{name}, {layer}: {decibels:.1f} dB, at least {limit:g}"
    for index, (near, exact) in enumerate(zip(outputs, answer(described, images), strict=True)):
        if exact.size >= MANY and (decibels := kept(near, exact)) < least:
            yield f"{name}, output {index} of the whole: {decibels:.1f} dB, at least {least:g}"


def first_classes(engine: Answering, seeds: Sequence[int], **choices: Any) -> tuple[int, int]:
    """In how many pictures of all the first class is the reference's, on this processor's best kernels."""
    same = total = 0
    for seed in seeds:
        described = random_description(seed, task=Task.CLASSIFY, classes=10, **choices)
        images = image_of(described, seed, pictures=3)
        near, exact = engine.answer(write(described), images)[0], answer(described, images)[0]
        same += int((near.argmax(axis=1) == exact.argmax(axis=1)).sum())
        total += len(near)
    return same, total
