"""What stays float, and why: from figures, within what a target can do, and as few as its aims ask for."""

from __future__ import annotations

from dataclasses import replace

import onnx_ir as ir
import pytest
from lowerings import canonical
from quantized import plan_of
from support import network

from edgecvx.errors import EdgecvxError
from edgecvx.graph.qdq import output_grid, weight_of
from edgecvx.graph.scheme import RETURNS_FLOATS, Role, Scheme, Sparing, role_of
from edgecvx.graph.values import LAYERS, name_of
from edgecvx.quantize.insert import insert
from edgecvx.quantize.keep import ENOUGH, arithmetic_of, keep
from edgecvx.quantize.plan import Arithmetic, LayerPlan, Left, QuantPlan

FC1, DEPTHWISE = "stages.2.blocks.0.mlp.fc1", "stages.2.blocks.0.conv_dw"
OUTPUTS = frozenset(Role) - {Role.CLASSIFIER}


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return canonical(network(num_classes=5))


@pytest.fixture(scope="module")
def plan(graph: ir.Model) -> QuantPlan:
    return plan_of(graph)


def changed(plan: QuantPlan, **layers: LayerPlan) -> QuantPlan:
    return replace(plan, layers={**plan.layers, **layers})


def in_float(plan: QuantPlan, layer: str, arithmetic: Arithmetic, reason: str) -> QuantPlan:
    return changed(plan, **{layer: replace(plan.layers[layer], arithmetic=arithmetic, reason=reason)})


def test_the_worst_tensor_decides() -> None:
    assert arithmetic_of(Left(input=ENOUGH, weights=40, output=ENOUGH)) == (Arithmetic.INT8, "")
    read, why = arithmetic_of(Left(input=7.4, weights=40, output=30))
    assert read is Arithmetic.FLOAT and why == "int8 leaves 7 dB of what it reads, and 22 are needed"
    weights, why = arithmetic_of(Left(input=30, weights=12, output=30))
    assert weights is Arithmetic.FLOAT and "12 dB of its weights" in why
    output, why = arithmetic_of(Left(input=30, weights=40, output=-3.2))
    assert output is Arithmetic.FLOAT_OUTPUT and why.startswith(RETURNS_FLOATS) and "-3 dB of its output" in why


def test_a_float_layer_is_float_in_the_graph_with_its_reason(graph: ir.Model, plan: QuantPlan) -> None:
    hard = in_float(plan, FC1, Arithmetic.FLOAT, "hard")
    kept = keep(graph, Scheme(), hard)
    assert kept.reasons == {FC1: "hard"} and kept.macs < keep(graph, Scheme(), plan).macs == 1.0
    layers = {name_of(n.outputs[0]): n for n in insert(graph, Scheme(), hard).graph if n.op_type in LAYERS}
    assert weight_of(layers[FC1].inputs[1]) is None
    assert all(weight_of(node.inputs[1]) for name, node in layers.items() if name != FC1)


def test_an_output_is_float_only_where_it_would_be_int8(graph: ir.Model, plan: QuantPlan) -> None:
    hard = in_float(plan, FC1, Arithmetic.FLOAT_OUTPUT, f"{RETURNS_FLOATS}hard")
    assert keep(graph, Scheme(), hard).reasons == {}
    free = Scheme(outputs=OUTPUTS)
    assert keep(graph, free, hard).outputs == {FC1: f"{RETURNS_FLOATS}hard"}
    layers = {name_of(n.outputs[0]): n for n in insert(graph, free, hard).graph if n.op_type in LAYERS}
    assert weight_of(layers[FC1].inputs[1]) is not None and output_grid(layers[FC1].outputs[0]) is None


def test_a_kernel_that_returns_integers_alone_is_not_used_then(graph: ir.Model, plan: QuantPlan) -> None:
    hard = in_float(plan, DEPTHWISE, Arithmetic.FLOAT_OUTPUT, f"{RETURNS_FLOATS}one grid leaves 5 dB")
    stuck = Scheme(outputs=OUTPUTS, returns_integers=frozenset([Role.DEPTHWISE]))
    assert keep(graph, stuck, hard).floats == {DEPTHWISE: "one grid leaves 5 dB"}


def test_only_so_many_are_int8_as_the_aims_ask_for(graph: ir.Model, plan: QuantPlan) -> None:
    def integers(spares: Sparing | None) -> list[str]:
        kept = keep(graph, Scheme(spares=spares), plan)
        assert all("gains no time" in reason for reason in kept.floats.values())
        return [name for name in plan.layers if role_of(name) is Role.DEPTHWISE and name not in kept.floats]

    every = integers(None)
    assert integers(Sparing(macs=1.0)) == every
    assert integers(Sparing(macs=0.0, weights=0.0)) == []
    some = integers(Sparing(macs=0.0, weights=0.96))
    assert 0 < len(some) < len(every) and every[-1] in some, "from the last stage backwards"
    assert all(name.startswith("stages.1.") for name in integers(Sparing(stages=(1,), macs=1.0)))


def test_what_somebody_chose_is_not_spared(graph: ir.Model, plan: QuantPlan) -> None:
    scheme = Scheme(spares=Sparing(macs=0.0, weights=0.0))
    assert DEPTHWISE in keep(graph, scheme, plan).floats
    chosen = keep(graph, scheme, in_float(plan, DEPTHWISE, Arithmetic.INT8_CHOSEN, "chosen"))
    assert DEPTHWISE not in chosen.reasons and len(chosen.floats) == len(keep(graph, scheme, plan).floats) - 1


def test_a_reason_belongs_to_what_is_not_int8(plan: QuantPlan) -> None:
    with pytest.raises(EdgecvxError, match="reason"):
        replace(plan.layers[FC1], arithmetic=Arithmetic.FLOAT)
    with pytest.raises(EdgecvxError, match="reason"):
        replace(plan.layers[FC1], arithmetic=Arithmetic.INT8_CHOSEN)
    with pytest.raises(EdgecvxError, match="reason"):
        replace(plan.layers[FC1], reason="none")
