"""The check every file passes before it is handed over: its own runtime against the reference, on probe pictures."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import Page, SelfCheckError, about
from edgecvx.manifest import SelfCheck
from edgecvx.proof.metrics import least_sqnr, max_error_of_range, min_cosine
from edgecvx.runtimes.base import Session, run_batches
from edgecvx.runtimes.logits import as_logits
from edgecvx.spec import Layout, OutputKind, Precision, TensorSpec

Array = NDArray[Any]

LIMITS: Mapping[int, float] = {
    32: 1e-3,  # orders of summation differ from runtime to runtime: 1e-6 to 1e-5 is usual
    16: 1e-2,  # 11 bits of mantissa through 14 to 16 blocks: 1e-3 to 3e-3 is usual
    # Against its own plan: a number halfway between two steps may be rounded either way, and 14 blocks carry that on.
    # Without one, against FP32: 8 bits for each weight and activation.
    8: 1e-1,
}
"""Bits of a weight -> largest error a file may have, as a fraction of the range of the reference's output."""
NOISIER, NOISIEST = 2.0, 0.25
"""A quantized graph that is ``x`` off on the probe pictures, which are no photographs, allows its file ``2 x``, as two
errors of one size; and no more than a quarter of the range in any case."""


def self_check(
    actual: Mapping[str, Array],
    *,
    runtime: str,
    outputs: Sequence[TensorSpec],
    expected: Sequence[Array],
    precision: Precision,
    against: Literal["fp32", "plan"] = "fp32",
    noise: float = 0.0,
    note: str = "",
) -> SelfCheck:
    """Compares what a file made of the probe pictures with its reference.

    Args:
        actual: What the file returned for them in its own runtime, by the outputs' names.
        runtime: The runtime's name and version, for the manifest.
        outputs: What the lowering says the file returns.
        expected: The reference's outputs for them, in the order of ``outputs``, in NCHW.
        precision: Decides the limit.
        against: What the reference is.
        noise: How far the reference itself is from FP32 on these pictures, as a fraction of the range: where roundings
            grow, those of a file that rounds elsewhere grow as much.
        note: What a reader of the figures has to know about the runtime.

    Raises:
        SelfCheckError: An output is missing, misshapen, or off by more than the limit.
    """
    worst, cosine = 0.0, 1.0
    limit = float(f"{max(LIMITS[precision.bits], min(NOISIER * noise, NOISIEST)):.1e}")
    for spec, reference in zip(outputs, expected, strict=True):
        if spec.name not in actual:
            raise SelfCheckError(
                f"the file has no output {spec.name!r}, only {', '.join(actual)}; it is not handed over"
            )
        array = channels_first(actual[spec.name], spec.layout)
        if array.shape != reference.shape:
            raise SelfCheckError(f"output {spec.name!r} has shape {array.shape}, the reference has {reference.shape}")
        error = _error(spec, array, reference)
        if not error <= limit:
            with about(Page.INT8) if precision.quantized else contextlib.nullcontext():
                raise SelfCheckError(
                    f"output {spec.name!r} is off by {error:.2e} of the reference's range in {runtime}, "
                    f"allowed is {limit:g}: the file is not handed over"
                )
        worst, cosine = max(worst, error), min(cosine, min_cosine(*_comparable(spec, array, reference)))
    # Two digits: enough to judge by, and the same on every run and every machine of a kind.
    return SelfCheck(
        against=against,
        runtime=runtime,
        probes=len(expected[0]),
        max_error=float(f"{worst:.1e}"),
        limit=limit,
        cosine=round(cosine, 6),
        note=note,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Closeness:
    """How near a file's answers are to FP32's."""

    cosine: float
    """The smallest over outputs and pictures."""
    sqnr: float | None
    """Signal over noise in dB, of the output that kept least; None where nothing was lost."""


def closeness(session: Session, outputs: Sequence[TensorSpec], pictures: Array, exact: Sequence[Array]) -> Closeness:
    """Compares an open file with what FP32 returns.

    Args:
        session: The file.
        outputs: What it returns.
        pictures: In its own layout and dtype.
        exact: FP32's outputs for them, in NCHW.
    """
    actual = run_batches(session, pictures)
    pairs = [
        _comparable(spec, channels_first(actual[spec.name], spec.layout), array)
        for spec, array in zip(outputs, exact, strict=True)
    ]
    cosine = min(min_cosine(ours, array) for ours, array in pairs)
    if not all(np.isfinite(ours).all() for ours, _ in pairs):
        return Closeness(cosine=cosine, sqnr=-np.inf)
    return Closeness(cosine=cosine, sqnr=least_sqnr(pairs))


def noise(outputs: Sequence[TensorSpec], expected: Sequence[Array], exact: Sequence[Array]) -> float:
    """How far a file's reference is from FP32 on the probe pictures, as a fraction of the range."""
    return max(_error(*compared) for compared in zip(outputs, expected, exact, strict=True))


def _comparable(spec: TensorSpec, actual: Array, expected: Array) -> tuple[Array, Array]:
    """Two arrays of an output, as they are compared: probabilities by their logarithms.

    A softmax multiplies what a logit is off by as much as logits are large, and hides it where one of them is far above
    the others. So a file that ends in one is held to what the same file without it is held to.
    """
    if spec.name != OutputKind.PROBABILITIES.value:
        return actual, expected
    return as_logits(actual), as_logits(expected)


def _error(spec: TensorSpec, actual: Array, expected: Array) -> float:
    """The largest difference, as a fraction of the range; of probabilities also how far their sums are from 1."""
    error = max_error_of_range(*_comparable(spec, actual, expected))
    if spec.name != OutputKind.PROBABILITIES.value:
        return error
    return max(error, float(np.abs(actual.astype(np.float64).sum(axis=-1) - 1).max()))


def channels_first(array: Array, layout: Layout) -> Array:
    """An output in NCHW, whatever layout its file has."""
    return array.transpose(0, 3, 1, 2) if layout == "NHWC" else array
