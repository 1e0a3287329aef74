"""What is known before anything is measured: exact counts, and limits that no measurement could rescue."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import onnx_ir as ir
import pytest
from lowerings import canonical
from support import arch, network

from edgecvx.graph.values import LAYERS, array_of, name_of, shape_of
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.space import Candidate, space
from edgecvx.tune.space.bounds import bound_of, hopeless, layers_of, option_bytes

FEMTO = VARIANTS["convnextv2_femto"]
CANDIDATE = Candidate(model="femto", size=224, target="onnx", precision=Precision.INT8)


def layers_in(graph: ir.Model) -> dict[str, tuple[int, int]]:
    return {
        name_of(n.outputs[0]): (array_of(n.inputs[1]).size, math.prod(shape_of(n.outputs[0])[2:]))
        for n in graph.graph
        if n.op_type in LAYERS
    }


@pytest.mark.parametrize("changes", [{}, {"stem": "overlap", "stem_mid": 8}, {"grn": False}])
def test_the_layers_are_those_of_the_graph(changes: dict[str, Any]) -> None:
    found = layers_of(arch(**changes), 5, 64)
    graph = layers_in(canonical(network(num_classes=5, **changes), size=64))
    assert {(layer.weights, layer.pixels) for layer in found} == set(graph.values())
    assert sum(layer.macs for layer in found) == sum(weights * pixels for weights, pixels in graph.values())


def test_bytes_follow_the_precision_and_the_decisions() -> None:
    def least(precision: Precision) -> int:
        return bound_of(FEMTO, 1000, replace(CANDIDATE, precision=precision)).bytes

    assert least(Precision.FP32) == 2 * least(Precision.FP16) == 4 * least(Precision.INT8)
    decisions = space(get_target("onnx"), FEMTO).decisions
    exact = replace(CANDIDATE, decisions={d.name: d.exact for d in decisions})
    assert least(Precision.INT8) < bound_of(FEMTO, 1000, exact, decisions).bytes < least(Precision.FP32)
    layers = {layer.name: layer for layer in layers_of(FEMTO, 1000, 224)}
    mlp = next(d for d in decisions if d.part == "mlp")
    assert option_bytes(layers, mlp, "float", "onnx") == 4 * option_bytes(layers, mlp, "int8", "onnx")
    assert option_bytes(layers, mlp, "float", "tflite") == 2 * option_bytes(layers, mlp, "int8", "tflite")


def test_what_no_measurement_could_rescue_is_dropped_with_its_limit() -> None:
    bound = bound_of(FEMTO, 1000, CANDIDATE)
    assert hopeless(CANDIDATE, bound, Limits(max_drop=0.5, max_p50=1)) is None, "nobody knows how fast the device is"
    size = hopeless(CANDIDATE, bound, Limits(max_mb=4))
    assert size is not None and size.limit == "--max-mb" and "--max-mb is 4" in size.sentence
    time = hopeless(CANDIDATE, bound, Limits(max_p50=1), macs_per_ms=2e8)
    assert time is not None and time.limit == "--max-p50" and time.least == pytest.approx(bound.macs / 2e8)
    memory = hopeless(CANDIDATE, bound, Limits(max_memory=5))
    assert memory is not None and memory.limit == "--max-memory"


def test_what_might_keep_a_limit_is_not_dropped() -> None:
    bound = bound_of(FEMTO, 1000, CANDIDATE)
    just = Limits(max_mb=bound.bytes / 1e6, max_p50=bound.macs / 1e8, max_memory=bound.memory / 1e6)
    assert hopeless(CANDIDATE, bound, just, macs_per_ms=1e8) is None
