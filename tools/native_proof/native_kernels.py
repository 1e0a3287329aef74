"""Each kernel of the engine alone, against plain float64, on every processor that can be had.

Sums of integers have to be equal bit for bit: with scales of 1 and no bias a layer returns its sums as float32. What is
rounded to int8 may be half a step and a thousandth from the exact number, and what is a float, some units of its last
place, in parts of the sum of what was added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ecvx_reference import activation
from native_programs import HERE, Machine
from numpy.typing import NDArray

Array = NDArray[Any]
FACTS, STORE, HIDE, DEPTHWISE, NORMALIZE, ROUND, SCALE, ADD = range(8)
ACTIVATIONS = ("gelu", "gelu_tanh", "silu")
SOURCE = HERE / "kernels.c"
AT_ONCE = 100
"""Requests to one process: a program in node has little memory, and gets none back."""
NARROW = ("avx2", "relaxed")
"""Kernels that are chosen only where two neighbouring weights of one sign reach 128 at most."""
STEP = 0.501
"""How far a rounded number may be from the exact one: float32 has a thousandth of a step at 128 and more."""
FLOAT = 3e-6
"""A float's error, in parts of the sum of all that was added: some of float32's 6e-8 for each of many."""
CURVE = 2.0e-4
"""The polynomial is within 1.7e-4 of GELU; the rest is float32."""
HIDDEN_CURVE = 2.6e-4
"""The one of 16-bit numbers within 1.8e-4; the rest are its own roundings."""
HIDDEN_STEPS = 1.1
"""And what goes in and what comes out are each rounded by half a step; GELU is at most 1.13 times as steep."""
ENDS = {"gelu": 4.1, "gelu_tanh": 4.0}
"""How far from 0 an activation function is told from its ends, which is where int16 ends too, doubled as often as it
takes for twice what it reaches."""
SQUARED = 32768 / 6907
"""How much smaller hidden numbers are when they are squared, for the 44 pixels at once that the program speaks of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A request, and how its answer is judged."""

    name: str
    operation: int
    numbers: Sequence[int] = ()
    floats: Sequence[float] = ()
    arrays: Sequence[Array] = ()
    judge: Callable[[bytes, Facts], str]
    """What is wrong with an answer; empty where nothing is."""
    fits: bool = True
    """Whether the weights are such that kernels of ``NARROW`` are exact."""

    def request(self) -> bytes:
        """As the program reads it."""
        numbers = np.zeros(12, np.int32)
        numbers[: len(self.numbers)] = self.numbers
        floats = np.zeros(4, np.float32)
        floats[: len(self.floats)] = self.floats
        parts = [np.int32(self.operation).tobytes(), numbers.tobytes(), floats.tobytes()]
        for array in self.arrays:
            parts += [np.int64(array.nbytes).tobytes(), np.ascontiguousarray(array).tobytes()]
        return b"".join(parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a set of kernels says of itself."""

    bytes: int
    panel: int
    lowest: int


def faults(machine: Machine, kernels: str, cases: Sequence[Case], **building: Any) -> list[str]:
    """What is wrong with a set of kernels on a machine, a sentence each.

    Args:
        machine: One that has these kernels.
        kernels: Their name.
        cases: What to ask.
        building: Of the program: ``folder`` and ``opt`` of ``Machine.program``.
    """
    program = machine.program(SOURCE, **building)
    cases = [case for case in cases if case.fits or kernels not in NARROW]
    facts = Case(name="facts", operation=FACTS, judge=lambda answer, known: "")
    answers: list[bytes] = []
    for at in range(0, len(cases), AT_ONCE):
        given = b"".join(case.request() for case in (facts, *cases[at : at + AT_ONCE]))
        first, *more = _parted(machine.run(program, kernels, given=given))
        answers += more
    size, panel, lowest = (int(number) for number in np.frombuffer(first, np.int32))
    known = Facts(bytes=size, panel=panel, lowest=lowest)
    if len(answers) != len(cases):
        raise ValueError(f"{len(answers)} answers to {len(cases)} requests")
    found = ((case, case.judge(answer, known)) for case, answer in zip(cases, answers, strict=True))
    return [f"{kernels} on {machine}, {case.name}: {wrong}" for case, wrong in found if wrong]


def kernels_of(machine: Machine, **building: Any) -> list[str]:
    """The kernels there are on a machine."""
    return machine.run(machine.program(SOURCE, **building)).decode().split()


def all_cases(seed: int, count: int) -> list[Case]:
    """Of each kernel some cases at its limits, and ``count`` drawn ones."""
    draw = np.random.default_rng(seed)
    cases = [*extreme_sums(draw)]
    for _ in range(count):
        cases += [sums(draw), product(draw), floats(draw), depthwise(draw), scaled(draw), added(draw)]
        cases += [hidden(draw), hidden(draw), normalized(draw), normalized(draw), rounded(draw)]
    return cases


def _parted(answers: bytes) -> list[bytes]:
    parts, at = [], 0
    while at < len(answers):
        size = int.from_bytes(answers[at : at + 8], "little")
        parts.append(answers[at + 8 : at + 8 + size])
        at += 8 + size
    return parts


# What is asked of products.


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A layer, and inputs for it."""

    n: int
    segments: int
    segment: int
    rows: int
    pitch: int
    weights: Array
    """``[n, k]``, int8 or float32."""
    inputs: Array
    """``[rows, k]``, of the same type."""
    zero: int = 0
    scale: float = 1.0
    scales: Array = field(default_factory=lambda: np.zeros(0, np.float32))
    bias: Array = field(default_factory=lambda: np.zeros(0, np.float32))

    @property
    def integers(self) -> bool:
        return self.weights.dtype == np.int8

    @property
    def numbers(self) -> tuple[int, ...]:
        return self.n, self.segments, self.segment, int(self.integers), self.zero, self.rows, self.pitch

    @property
    def arrays(self) -> tuple[Array, ...]:
        return self.weights, self.scales, self.bias, self.inputs

    @property
    def fits(self) -> bool:
        """Whether neighbours of one sign reach 128 at most, in each segment."""
        if not self.integers:
            return True
        rows = self.weights.astype(np.int32).reshape(-1, self.segment)
        pairs = rows[:, : self.segment // 2 * 2].reshape(len(rows), -1, 2)
        return bool(
            (np.maximum(pairs, 0).sum(axis=2) <= 128).all() and (np.minimum(pairs, 0).sum(axis=2) >= -128).all()
        )

    def __str__(self) -> str:
        kind = "int8" if self.integers else "float"
        return f"{kind} {self.rows} x {self.segments}*{self.segment} x {self.n}, zero point {self.zero}"

    def sums(self) -> tuple[Array, Array]:
        """Exact sums, and those of all absolute values."""
        inputs = self.inputs.astype(np.float64) - self.zero
        weights = self.weights.astype(np.float64)
        return inputs @ weights.T, np.abs(inputs) @ np.abs(weights.T)


def _shape(draw: np.random.Generator) -> dict[str, Any]:
    segments = int(draw.choice([1, 1, 1, 4, 9]))
    segment = int(np.exp(draw.uniform(0, np.log(4096 / segments))))
    aligned = (segment + 15) // 16 * 16
    pitch = segment if segments == 1 and draw.random() < 0.5 else aligned
    rows, n = int(draw.integers(1, 21)), int(np.exp(draw.uniform(0, np.log(300))))
    return {"n": n, "segments": segments, "segment": segment, "rows": rows, "pitch": pitch}


def _int8(draw: np.random.Generator, *shape: int) -> Array:
    """Of all sizes: any, small, or the two ends alone."""
    kind = draw.integers(3)
    values = draw.integers(-128, 128, shape) if kind == 0 else draw.integers(-7, 8, shape)
    if kind == 2:
        values = np.where(values > 0, 127, -128)
    return values.astype(np.int8)


def _paired(draw: np.random.Generator, shape: Mapping[str, int]) -> Array:
    """Weights of which two neighbours reach as far as they may together, on either side."""
    pairs = (shape["segment"] + 1) // 2
    first = draw.integers(-128, 128, (shape["n"] * shape["segments"], pairs))
    rest = np.where(first < 0, -128 - first, np.minimum(127, 128 - first))
    other = np.where(draw.random(first.shape) < 0.7, rest, -rest)
    rows = np.stack([first, np.clip(other, -128, 127)], axis=2).reshape(len(first), -1)[:, : shape["segment"]]
    return rows.reshape(shape["n"], -1).astype(np.int8)


def _integer_layer(draw: np.random.Generator, shape: Mapping[str, Any], **more: Any) -> _Layer:
    k = shape["segments"] * shape["segment"]
    zero = int(draw.choice([-128, 127, 0, int(draw.integers(-128, 128))]))
    weights = _paired(draw, shape) if draw.random() < 0.4 else _int8(draw, shape["n"], k)
    values: dict[str, Any] = {"weights": weights, "inputs": _int8(draw, shape["rows"], k), "zero": zero}
    return _Layer(**shape, **{**values, **more})


def _exact(layer: _Layer, name: str) -> Case:
    wanted = layer.sums()[0].astype(np.float32)

    def judge(answer: bytes, _: Facts) -> str:
        near = np.frombuffer(answer, np.float32).reshape(wanted.shape)
        wrong = int((near != wanted).sum())
        return f"{wrong} of {near.size} sums of integers are wrong" if wrong else ""

    ones = np.ones(layer.n, np.float32)
    arrays = (layer.weights, ones, np.zeros(0, np.float32), layer.inputs, np.zeros(0, np.float32))
    return Case(
        name=f"{name}, {layer}",
        operation=STORE,
        numbers=layer.numbers,
        floats=(1, 1),
        arrays=arrays,
        judge=judge,
        fits=layer.fits,
    )


def sums(draw: np.random.Generator) -> Case:
    """Sums of integers, bit for bit."""
    return _exact(_integer_layer(draw, _shape(draw)), "sums")


def extreme_sums(draw: np.random.Generator) -> Iterator[Case]:
    """All weights and inputs at their ends, where 16 bits would not hold what is added; the longest rows."""
    for weight in (-128, 127):
        for value in (-128, 127):
            for zero in (-128, 127):
                for k, n, rows in ((4096, 33, 7), (16, 100, 20), (1, 1, 1)):
                    shape = {"n": n, "segments": 1, "segment": k, "rows": rows, "pitch": k}
                    weights, inputs = np.full((n, k), weight, np.int8), np.full((rows, k), value, np.int8)
                    layer = _integer_layer(draw, shape, weights=weights, inputs=inputs, zero=zero)
                    yield _exact(layer, "the largest sums")


def product(draw: np.random.Generator) -> Case:
    """A layer of integers with its scales, bias and what was in the map before."""
    shape = _shape(draw)
    scales, bias = _floats(draw, shape["n"]) * np.float32(0.01), _floats(draw, shape["n"])
    layer = _integer_layer(draw, shape, scale=float(np.float32(0.037)), scales=scales, bias=bias)
    return _stored(draw, layer, unit=float(draw.choice([1.0, 3.95])))


def floats(draw: np.random.Generator) -> Case:
    """A layer of floats."""
    shape = _shape(draw)
    k = shape["segments"] * shape["segment"]
    values: dict[str, Any] = {"weights": _floats(draw, shape["n"], k), "inputs": _floats(draw, shape["rows"], k)}
    return _stored(draw, _Layer(**shape, **values, bias=_floats(draw, shape["n"])), unit=1.0)


def _stored(draw: np.random.Generator, layer: _Layer, unit: float) -> Case:
    before = _floats(draw, layer.rows, layer.n) if draw.random() < 0.5 else np.zeros(0, np.float32)
    exact, size = _scaled_sums(layer)
    wanted, room = exact / np.float32(unit), size / unit
    if before.size:
        wanted, room = wanted + before, room + np.abs(before)
    return Case(
        name=f"product, {layer}{', added' if before.size else ''}",
        operation=STORE,
        numbers=layer.numbers,
        floats=(layer.scale, unit),
        arrays=(*layer.arrays, before),
        judge=_near(wanted, FLOAT * room),
        fits=layer.fits,
    )


def _scaled_sums(layer: _Layer) -> tuple[Array, Array]:
    """What a layer returns, and the sum of all absolute values it adds, of whole sums where these are exact."""
    exact, size = layer.sums()
    if not layer.integers:
        return exact + layer.bias, size + np.abs(layer.bias)
    exact = exact * layer.scale * layer.scales.astype(np.float64)
    return exact + layer.bias, np.abs(exact) + np.abs(layer.bias)


def _near(wanted: Array, room: Array | float) -> Callable[[bytes, Facts], str]:
    def judge(answer: bytes, _: Facts) -> str:
        near = np.frombuffer(answer, np.float32).reshape(wanted.shape).astype(np.float64)
        over = np.abs(near - wanted) - room
        return (
            "" if (over <= 0).all() else f"off by {np.abs(near - wanted).max():.3g}, {float(over.max()):.3g} too much"
        )

    return judge


def _floats(draw: np.random.Generator, *shape: int) -> Array:
    return draw.standard_normal(shape, np.float32)


# What is asked of everything else.


def hidden(draw: np.random.Generator) -> Case:
    """An activation function behind a layer, as far as twice its reach, and the sums of squares."""
    shape, kind, integers = _shape(draw), int(draw.integers(3)), bool(draw.random() < 0.8)
    integers = integers and ACTIVATIONS[kind] != "silu"  # whose hidden numbers are floats
    k = shape["segments"] * shape["segment"]
    bias = _floats(draw, shape["n"])
    if draw.random() < 0.7:
        scales = (np.abs(_floats(draw, shape["n"])) + np.float32(0.1)) * np.float32(2e-4 * (4096 / k) ** 0.5)
        layer = _integer_layer(draw, shape, scale=0.05, scales=scales, bias=bias)
    else:
        weights = _floats(draw, shape["n"], k) * np.float32(2 / k**0.5)
        layer = _Layer(**shape, weights=weights, inputs=_floats(draw, shape["rows"], k), bias=bias)
    before, size = _scaled_sums(layer)
    wanted = activation(ACTIVATIONS[kind], before)  # type: ignore[arg-type]
    reach = max(float(np.abs(wanted).max()) / float(draw.uniform(0.7, 1.9)), 0.1)
    step = _hidden_step(ACTIVATIONS[kind], reach) if integers else 0.0

    def judge(answer: bytes, facts: Facts) -> str:
        near = np.frombuffer(answer, np.float32).astype(np.float64).reshape(layer.rows + 1, layer.n)
        room = (HIDDEN_CURVE if integers else CURVE) + 2 * FLOAT * (size + 1) + HIDDEN_STEPS * step
        if wrong := _near(wanted, room)(near[:-1].astype(np.float32).tobytes(), facts):
            return wrong
        squares = np.square(near[:-1]).sum(axis=0)
        coarse = SQUARED * step
        margin = 1e-5 * (squares + 1e-6) + 1.01 * coarse * np.abs(near[:-1]).sum(axis=0) + layer.rows * coarse**2
        return "" if (np.abs(near[-1] - squares) <= margin).all() else "sums of squares are others"

    return Case(
        name=f"{ACTIVATIONS[kind]} into {'integers' if integers else 'floats'}, reach {reach:.3g}, {layer}",
        operation=HIDE,
        numbers=(*layer.numbers, kind, int(integers)),
        floats=(layer.scale, 0, reach),
        arrays=layer.arrays,
        judge=judge,
        fits=layer.fits,
    )


def _hidden_step(activation: str, reach: float) -> float:
    """What a hidden number of 1 stands for."""
    end = ENDS[activation]
    return float(end * 2.0 ** max(0, np.ceil(np.log2(2 * reach / end))) / 32768)


def depthwise(draw: np.random.Generator) -> Case:
    """Rows of a depthwise convolution, of a pixel and more, at the borders of a map and within it."""
    width, channels, kernel = int(draw.integers(1, 40)), int(draw.integers(1, 70)), int(draw.choice([3, 5, 7]))
    rows, border = int(draw.integers(1, 4)), kernel // 2
    above, below = (int(draw.integers(0, border + 1)) for _ in range(2))
    inputs = _floats(draw, rows + kernel - 1, width + kernel - 1, channels)
    inputs[:above] = inputs[len(inputs) - below :] = inputs[:, :border] = inputs[:, width + border :] = 0
    weights, bias = _floats(draw, kernel * kernel, channels), _floats(draw, channels)
    windows = np.lib.stride_tricks.sliding_window_view(inputs.astype(np.float64), (kernel, kernel), axis=(0, 1))
    parts = np.einsum("rwcyx,yxc->rwcyx", windows, weights.reshape(kernel, kernel, channels).astype(np.float64))
    wanted, size = parts.sum(axis=(3, 4)) + bias, np.abs(parts).sum(axis=(3, 4)) + np.abs(bias)
    return Case(
        name=f"depthwise {kernel}x{kernel}, {rows} x {width} pixels, {channels} channels, {above} + {below} rows of 0",
        operation=DEPTHWISE,
        numbers=(width, channels, kernel, rows, above, below),
        arrays=(inputs, weights, bias),
        judge=_near(wanted, FLOAT * size),
    )


def _whole(exact: Array) -> Callable[[bytes, Facts], str]:
    wanted = np.clip(exact, -128, 127)

    def judge(answer: bytes, _: Facts) -> str:
        far = float(np.abs(np.frombuffer(answer, np.int32).reshape(wanted.shape) - wanted).max())
        return "" if far <= STEP else f"rounded to a number that is {far:.4g} away"

    return judge


def normalized(draw: np.random.Generator) -> Case:
    """A LayerNorm, rounded for the next layer or not; of channels that are all the same, too."""
    channels, rows, integers = int(np.exp(draw.uniform(0, 6.5))), int(draw.integers(1, 24)), bool(draw.random() < 0.6)
    x = _floats(draw, rows, channels) * np.float32(draw.choice([0.01, 1, 30])) + np.float32(draw.choice([0, 5]))
    if draw.random() < 0.1:
        x[:] = np.float32(0.5)
    both = draw.random() < 0.6
    scale, shift = (_floats(draw, channels) if both else np.zeros(0, np.float32) for _ in range(2))
    epsilon, grid, zero = float(draw.choice([1e-6, 1e-3])), 0.02, int(draw.choice([-128, 127, 3]))
    wide = x.astype(np.float64)
    centred = wide - wide.mean(axis=1, keepdims=True)
    deviation = np.sqrt(np.square(centred).mean(axis=1, keepdims=True) + np.float32(epsilon))
    exact = centred / deviation * (scale if both else 1.0) + (shift if both else 0.0)
    # The mean is a float32: its error is divided by the deviation as everything is.
    room = 1e-6 * (np.abs(exact) + 1 + np.abs(wide).max(axis=1, keepdims=True) / deviation * 4)
    room = room * (np.abs(scale) + 1 if both else 1.0)
    inexact = bool(room.max() / grid > 5e-4)
    rounding = _whole(exact / np.float32(grid) + zero)
    return Case(
        name=f"norm of {rows} x {channels}{', rounded' if integers else ''}{'' if both else ', without scales'}",
        operation=NORMALIZE,
        numbers=(channels, rows, 0, int(integers and not inexact), zero),
        floats=(grid, epsilon),
        arrays=(x, scale, shift),
        judge=rounding if integers and not inexact else _near(exact, room),
    )


def rounded(draw: np.random.Generator) -> Case:
    """Rounding to a grid, also of numbers far outside of it, and of those half-way in it."""
    count, zero, grid = 16 * int(draw.integers(1, 9)), int(draw.choice([-128, 127, 0, -5])), 0.25
    x = _floats(draw, count) * np.float32(draw.choice([1, 20, 1e5]))
    x[::5] = np.round(x[::5] / np.float32(grid)) * np.float32(grid) + np.float32(grid / 2)
    exact = np.clip(np.rint(x.astype(np.float64) / grid) + zero, -128, 127)

    def judge(answer: bytes, facts: Facts) -> str:
        """A half goes to the even number, as in numpy, counted from the zero point or from the lowest number."""
        near = np.frombuffer(answer, np.int32)
        half = np.abs(np.abs(x / grid - np.trunc(x / grid)) - 0.5) < 1e-6
        return "" if (np.abs(near - exact) <= half).all() else f"rounded {np.abs(near - exact).max():g} away"

    return Case(
        name=f"{count} numbers rounded, zero point {zero}",
        operation=ROUND,
        numbers=(count, 0, 0, 0, zero),
        floats=(grid,),
        arrays=(x,),
        judge=judge,
    )


def scaled(draw: np.random.Generator) -> Case:
    """Hidden numbers times a factor, rounded: exactly, up to the largest of both."""
    channels, rows, zero = 16 * int(draw.integers(1, 9)), int(draw.integers(1, 4)), int(draw.choice([-128, 127, 0, 11]))
    whole, factor = draw.integers(-32768, 32768, (rows, channels)), draw.integers(-32767, 32768, channels)
    small = draw.random(channels) < 0.6
    factor = np.where(small, factor // 256, factor)
    # exactly between two numbers
    whole[:, ::4], factor[::4] = (
        draw.integers(-100, 100, (rows, channels // 4)) * 2 + 1,
        0x4000,
    )
    exact = np.clip(((whole * factor + 0x4000) >> 15) + zero, -128, 127)

    def judge(answer: bytes, _: Facts) -> str:
        wrong = int((np.frombuffer(answer, np.int32) != exact.ravel()).sum())
        return f"{wrong} of {rows * channels} scaled numbers are others" if wrong else ""

    return Case(
        name=f"{rows} x {channels} hidden numbers scaled, zero point {zero}",
        operation=SCALE,
        numbers=(channels, rows, 0, 0, zero),
        floats=(1.0,),
        arrays=(whole.astype(np.int16), factor.astype(np.int16)),
        judge=judge,
    )


def added(draw: np.random.Generator) -> Case:
    """Two rows of floats, added."""
    count = 16 * int(draw.integers(1, 9))
    a, b = _floats(draw, count), _floats(draw, count)
    wanted = (a + b).astype(np.float64)
    return Case(name=f"{count} floats added", operation=ADD, numbers=(count,), arrays=(a, b), judge=_near(wanted, 0.0))
