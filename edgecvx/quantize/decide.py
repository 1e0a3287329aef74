"""From what a calibration saw to the plan's decisions: ranges, smoothing, corrected biases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.grids import as_float32, grid_of_range, quantize_weight, room_for_bias, weight_scales
from edgecvx.graph.scheme import ACTIVATION
from edgecvx.graph.values import LAYERS, array_of, name_of, producer, reads_picture
from edgecvx.quantize.bias import bias_correction
from edgecvx.quantize.figures import NOTHING_LOST, Figure, Figures
from edgecvx.quantize.keep import arithmetic_of
from edgecvx.quantize.observe.estimators import ChosenRange, Estimator, choose_range
from edgecvx.quantize.observe.observed import Floats, PointStatistics, Statistics
from edgecvx.quantize.plan import LayerPlan, Left, TensorPlan
from edgecvx.quantize.request import USUAL_REFINEMENTS
from edgecvx.quantize.smooth import smoothed, smoothed_weight, smoothing_behind_norm, smoothing_scales

Array = NDArray[Any]


FINE, WORSE = 30.0, 3.0
"""Decibels from which on a clipped range is taken as it is, and by how many the whole range has to be better below:
single rounding choices move the logits by half a decibel either way, and a figure cannot tell which."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decisions:
    """What a plan holds for each tensor."""

    layers: dict[str, LayerPlan]
    activations: dict[str, TensorPlan]


def decide(
    graph: ir.Model,
    stats: Statistics,
    *,
    estimator: Estimator = "auto",
    refinements: Collection[str] = USUAL_REFINEMENTS,
) -> Decisions:
    """Decides every range and scale of a canonical graph.

    Args:
        graph: The canonical graph.
        stats: What a calibration saw of it.
        estimator: How ranges are chosen.
        refinements: Out of ``edgecvx.quantize.request.REFINEMENTS``.
    """
    figures = Figures(graph, stats)
    layers, activations = {}, {}
    for node in graph.graph:
        name = name_of(node.outputs[0])
        if node.op_type in LAYERS:
            layers[name] = _layer(node, stats, figures, estimator, refinements)
        elif name.endswith(ACTIVATION):
            activations[name] = _tensor(stats[name], estimator, figures.activation(name))
    return Decisions(layers=layers, activations=activations)


def _layer(
    node: ir.Node, stats: Statistics, figures: Figures, estimator: Estimator, refinements: Collection[str]
) -> LayerPlan:
    name, weight = name_of(node.outputs[0]), array_of(node.inputs[1])
    seen = stats[f"{name}.input"]
    smoothing = _smoothing(node, seen, weight, figures) if "smoothing" in refinements else None
    if smoothing is not None:
        # The plan's own digits from here on, so that scales and weights fit each other to the last bit.
        smoothing = np.array(numbers_of(smoothing))
        seen, weight = smoothed(seen, smoothing), smoothed_weight(weight, smoothing)
    read, returned = figures.input(name, seen, weight), figures.output(name)
    grids, output = _tensor(seen, estimator, read), _tensor(stats[name], estimator, returned)
    scales = weight_scales(weight)
    if len(node.inputs) > 2:
        finest = min(grids.asymmetric.scale, grids.symmetric.scale)
        scales = room_for_bias(scales, array_of(node.inputs[2]), finest)
    rounded = quantize_weight(weight, scales, of_picture=reads_picture(node))
    correction = bias_correction(weight, rounded, seen) if "bias-correction" in refinements else None
    left = Left(
        input=NOTHING_LOST if reads_picture(node) else _of_both(grids, read),
        weights=_digits(figures.weights(name, seen, weight, rounded)),
        output=_of_both(output, returned),
    )
    arithmetic, reason = arithmetic_of(left)
    return LayerPlan(
        input=grids,
        output=output,
        weight_scales=numbers_of(scales),
        smoothing=() if smoothing is None else numbers_of(smoothing),
        bias_correction=() if correction is None else numbers_of(correction),
        left=left,
        arithmetic=arithmetic,
        reason=reason,
    )


def _smoothing(node: ir.Node, seen: PointStatistics, weight: Array, figures: Figures) -> Floats | None:
    """Free behind GRN, whose constants carry the division; paid for behind a LayerNorm; nowhere else."""
    below = producer(node.inputs[0])
    if below is None or below.domain != DOMAIN:
        return None
    if below.op_type in ("Grn", "GrnL2"):
        return smoothing_scales(seen, weight)
    name = name_of(node.outputs[0])

    def judge(stats: PointStatistics, matrix: Array) -> float:
        read = figures.input(name, stats, matrix)
        grids = _tensor(stats, "minmax", read)
        return min(_of_both(grids, read), figures.weights(name, stats, matrix, quantize_weight(matrix)))

    return smoothing_behind_norm(seen, weight, judge)


def _tensor(stats: PointStatistics, estimator: Estimator, figure: Figure) -> TensorPlan:
    """Both grids of a tensor; ``auto`` clips where more is left of it then."""
    low, high = stats.range
    wide, even = (_range(stats, estimator, figure, symmetric=symmetric) for symmetric in (False, True))
    return TensorPlan(
        low=as_float32(low),
        high=as_float32(high),
        estimator=wide.estimator,
        asymmetric=grid_of_range(wide.low, wide.high, symmetric=False),
        symmetric=grid_of_range(even.low, even.high, symmetric=True),
    )


def _range(stats: PointStatistics, estimator: Estimator, figure: Figure, *, symmetric: bool) -> ChosenRange:
    found = choose_range(stats, estimator, symmetric=symmetric)
    if estimator != "auto" or found.estimator == "minmax":
        return found
    whole = ChosenRange(*stats.range, "minmax")
    clipped, held = (figure(grid_of_range(r.low, r.high, symmetric=symmetric)) for r in (found, whole))
    return whole if clipped < FINE and held > clipped + WORSE else found


def _of_both(plan: TensorPlan, figure: Figure) -> float:
    """What is left on the worse of the two grids."""
    return _digits(min(figure(plan.asymmetric), figure(plan.symmetric)))


def _digits(figure: float) -> float:
    """As a plan shows it; the same on every processor."""
    return round(figure, 1)


def numbers_of(array: NDArray[np.floating]) -> tuple[float, ...]:
    """An array as a plan holds it: each number in the fewest digits that name its float32."""
    return tuple(as_float32(float(x)) for x in array)
