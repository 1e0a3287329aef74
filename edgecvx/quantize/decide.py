"""From what a calibration saw to the plan's decisions: ranges, smoothing, corrected biases."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.grids import as_float32, grid_of_range, quantize_weight, room_for_bias, weight_scales
from edgecvx.graph.scheme import ACTIVATION
from edgecvx.graph.values import LAYERS, array_of, name_of, producer, reads_picture
from edgecvx.quantize.bias import bias_correction
from edgecvx.quantize.estimators import Estimator, choose_range
from edgecvx.quantize.observed import PointStatistics, Statistics
from edgecvx.quantize.plan import LayerPlan, TensorPlan
from edgecvx.quantize.request import USUAL_REFINEMENTS
from edgecvx.quantize.smooth import smoothed, smoothed_weight, smoothing_scales


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
    layers, activations = {}, {}
    for node in graph.graph:
        name = name_of(node.outputs[0])
        if node.op_type in LAYERS:
            layers[name] = _layer(node, stats, estimator, refinements)
        elif name.endswith(ACTIVATION):
            activations[name] = _tensor(stats[name], estimator)
    return Decisions(layers=layers, activations=activations)


def _layer(node: ir.Node, stats: Statistics, estimator: Estimator, refinements: Collection[str]) -> LayerPlan:
    name, weight = name_of(node.outputs[0]), array_of(node.inputs[1])
    seen = stats[f"{name}.input"]
    smoothing = smoothing_scales(seen, weight) if "smoothing" in refinements and _follows_grn(node) else None
    if smoothing is not None:
        # The plan's own digits from here on, so that scales and weights fit each other to the last bit.
        smoothing = np.array(numbers_of(smoothing))
        seen, weight = smoothed(seen, smoothing), smoothed_weight(weight, smoothing)
    grids = _tensor(seen, estimator)
    scales = weight_scales(weight)
    if len(node.inputs) > 2:
        finest = min(grids.asymmetric.scale, grids.symmetric.scale)
        scales = room_for_bias(scales, array_of(node.inputs[2]), finest)
    correction = None
    if "bias-correction" in refinements:
        rounded = quantize_weight(weight, scales, of_picture=reads_picture(node))
        correction = bias_correction(weight, rounded, seen)
    return LayerPlan(
        input=grids,
        output=_tensor(stats[name], estimator),
        weight_scales=numbers_of(scales),
        smoothing=() if smoothing is None else numbers_of(smoothing),
        bias_correction=() if correction is None else numbers_of(correction),
    )


def _follows_grn(node: ir.Node) -> bool:
    """Whether dividing the layer's input costs nothing at run time: GRN's constants carry it."""
    below = producer(node.inputs[0])
    return below is not None and below.domain == DOMAIN and below.op_type in ("Grn", "GrnL2")


def _tensor(stats: PointStatistics, estimator: Estimator) -> TensorPlan:
    low, high = stats.range
    wide = choose_range(stats, estimator, symmetric=False)
    even = choose_range(stats, estimator, symmetric=True)
    return TensorPlan(
        low=as_float32(low),
        high=as_float32(high),
        estimator=wide.estimator,
        asymmetric=grid_of_range(wide.low, wide.high, symmetric=False),
        symmetric=grid_of_range(even.low, even.high, symmetric=True),
    )


def numbers_of(array: NDArray[np.floating]) -> tuple[float, ...]:
    """An array as a plan holds it: each number in the fewest digits that name its float32."""
    return tuple(as_float32(float(x)) for x in array)
