"""The quantized graph: what the plan says, computed by standard operations, and nothing else changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import support
from lowerings import canonical
from quantized import images_of, kept, plan_of, run_onnx

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.graph.grids import BYTES, quantize_weight
from edgecvx.graph.qdq import grid_of, is_quantized, output_grid, quantized_input, weight_of
from edgecvx.graph.scheme import ACTIVATION_REACH, Role, Scheme
from edgecvx.graph.values import array_of
from edgecvx.graph.writer import serialized
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import QuantPlan
from edgecvx.spec import ArchSpec, PreprocessSpec, Task

ARCH = ArchSpec(name="small", depths=(1, 1, 1, 1), dims=(8, 8, 16, 16))
BLOCK = "stages.1.blocks.0"
DYNAMIC = Scheme(dynamic=True)
FREE = Scheme(pairs=())
"""Weights on the plan's own scales."""


def graph_of(task: Task = Task.CLASSIFY, preprocess: PreprocessSpec | None = None) -> ir.Model:
    return canonical(initialize(ConvNeXt(ARCH, 5), 1), task=task, preprocess=preprocess, size=32)


@pytest.fixture(scope="module")
def graph() -> ir.Model:
    return graph_of()


@pytest.fixture(scope="module")
def plan(graph: ir.Model) -> QuantPlan:
    return plan_of(graph)


def node_of(model: ir.Model, name: str) -> ir.Node:
    (node,) = [n for n in model.graph if n.outputs[0].name == name]
    return node


def changed(plan: QuantPlan, layer: str, **fields: Any) -> QuantPlan:
    return replace(plan, layers={**plan.layers, layer: replace(plan.layers[layer], **fields)})


def test_the_quantized_graph_stays_near_the_float_one(graph: ir.Model, plan: QuantPlan) -> None:
    image = images_of(graph)[0]
    exact = run_onnx(graph, image)["logits"]
    for scheme in (Scheme(), Scheme(outputs=frozenset(Role), activations=True), Scheme(symmetric=True), DYNAMIC):
        near = run_onnx(insert(graph, scheme, None if scheme.dynamic else plan), image)["logits"]
        error = np.abs(near - exact).max() / np.ptp(exact)
        assert 0 < error < 0.1, scheme  # 8 bits through five blocks of random weights


def test_the_graph_that_was_given_is_left_alone(graph: ir.Model, plan: QuantPlan) -> None:
    before = ir.to_proto(graph).SerializeToString(deterministic=True)
    smoothed = changed(plan, f"{BLOCK}.mlp.fc2", smoothing=(2.0,) * 32, bias_correction=(0.5,) * 8)
    insert(graph, Scheme(), smoothed)
    assert ir.to_proto(graph).SerializeToString(deterministic=True) == before


def test_a_lowering_reads_weights_grids_and_sources(graph: ir.Model, plan: QuantPlan) -> None:
    model = insert(graph, Scheme(outputs=frozenset([Role.FC1]), activations=True, pairs=()), plan)
    fc1 = node_of(model, f"{BLOCK}.mlp.fc1")
    weight = weight_of(fc1.inputs[1])
    assert weight is not None
    expected = quantize_weight(graph.graph.initializers[f"{BLOCK}.mlp.fc1.weight"].const_value.numpy())  # type: ignore[union-attr]
    np.testing.assert_array_equal(weight.values, expected.values)
    found = quantized_input(fc1.inputs[0])
    assert found is not None
    assert (found[0].name, found[1]) == (f"{BLOCK}.norm", plan.layers[f"{BLOCK}.mlp.fc1"].input.asymmetric)
    assert output_grid(fc1.outputs[0]) == plan.layers[f"{BLOCK}.mlp.fc1"].output.asymmetric
    assert output_grid(node_of(model, f"{BLOCK}.mlp.act").outputs[0]) == plan.activations[f"{BLOCK}.mlp.act"].asymmetric
    assert output_grid(node_of(model, f"{BLOCK}.mlp.fc2").outputs[0]) is None
    assert weight_of(graph.graph.node(0).inputs[1]) is None and quantized_input(graph.graph.node(0).inputs[0]) is None
    assert is_quantized(model) and not is_quantized(graph)


def test_every_name_is_the_documented_one(graph: ir.Model, plan: QuantPlan) -> None:
    model = insert(graph, Scheme(outputs=frozenset([Role.FC1]), activations=True), plan)
    names = {str(v.name) for node in model.graph for v in node.outputs} | set(model.graph.initializers)
    n, w = f"{BLOCK}.mlp.fc1", f"{BLOCK}.mlp.fc1.weight"
    assert {f"{w}.int8", f"{w}.scale", f"{w}.dequantized", f"{n}.bias"} <= names
    assert {f"{n}.input.int8", f"{n}.input", f"{n}.input.scale", f"{n}.input.zero_point"} <= names
    assert {n, f"{n}.int8", f"{n}.dequantized", f"{n}.scale", f"{n}.zero_point"} <= names
    assert {f"{BLOCK}.mlp.act.int8", f"{BLOCK}.mlp.act.dequantized"} <= names
    assert w not in names


def test_a_scheme_leaves_float_what_it_does_not_name(graph: ir.Model, plan: QuantPlan) -> None:
    scheme = Scheme(inputs=frozenset(Role) - {Role.DEPTHWISE})
    model = insert(graph, scheme, plan, kept(graph, "stages.2.*", "logits"))
    floats = {
        str(n.outputs[0].name) for n in model.graph if n.op_type in ("Conv", "Gemm") and not weight_of(n.inputs[1])
    }
    depthwise = {f"stages.{i}.blocks.0.conv_dw" for i in range(4)}
    third = {"stages.2.downsample.1", "stages.2.blocks.0.mlp.fc1", "stages.2.blocks.0.mlp.fc2"}
    assert floats == depthwise | third | {"logits"}


def test_the_bytes_of_a_picture_are_on_their_own_grid() -> None:
    graph = graph_of(preprocess=PreprocessSpec(size=32))
    model = insert(graph, Scheme(), plan_of(graph))
    found = quantized_input(node_of(model, "stem.0").inputs[0])
    assert found is not None and found[1] == BYTES
    image = images_of(graph)[0]
    values = run_onnx(model, image, ["stem.0.input"])
    np.testing.assert_array_equal(values["stem.0.input"], image)


@pytest.mark.parametrize(
    "layer,channels", [(f"{BLOCK}.mlp.fc2", 32), (f"{BLOCK}.mlp.fc1", 8), ("stages.1.downsample.1", 8), ("logits", 16)]
)
def test_smoothing_changes_no_float(graph: ir.Model, plan: QuantPlan, layer: str, channels: int) -> None:
    """The input is divided channel by channel, the weights are multiplied, and up to there nothing else differs."""
    scales = tuple(float(s) for s in 2.0 ** np.random.default_rng(0).integers(-3, 4, channels))
    image = images_of(graph)[0]
    smoothed = insert(graph, FREE, changed(plan, layer, smoothing=scales))
    below = node_of(smoothed, layer).inputs[0]
    source = quantized_input(below)
    assert source is not None
    name = str(source[0].name)
    original = str(node_of(graph, layer).inputs[0].name)  # type: ignore[union-attr]
    plain = insert(graph, FREE, plan)
    before, after = (run_onnx(m, image, [v])[v] for m, v in ((plain, original), (smoothed, name)))
    column = np.reshape(scales, (1, -1, *[1] * (before.ndim - 2)))
    np.testing.assert_allclose(after * column, before, rtol=1e-5, atol=1e-6)
    weight = weight_of(node_of(smoothed, layer).inputs[1])
    exact = array_of(node_of(graph, layer).inputs[1])
    assert weight is not None
    limit = np.asarray(plan.layers[layer].weight_scales).reshape(-1, *[1] * (exact.ndim - 1)) * 127
    wanted = np.clip(exact * column, -limit, limit)
    np.testing.assert_allclose(weight.dequantize(), wanted, atol=float(limit.max()) / 250)


def test_a_channel_on_another_scale_than_the_plans_is_not_corrected(graph: ir.Model, plan: QuantPlan) -> None:
    """A correction takes back the mean of one rounding's errors, and pairs ask for another rounding."""
    layer = f"{BLOCK}.mlp.fc1"
    size = len(plan.layers[layer].weight_scales)
    corrected = changed(plan, layer, bias_correction=(0.5,) * size)
    safe = insert(graph, Scheme(), corrected)
    weight = weight_of(node_of(safe, layer).inputs[1])
    assert weight is not None
    kept = weight.scales == np.asarray(plan.layers[layer].weight_scales, np.float32)
    assert 0 < kept.sum() < size
    old, new = (array_of(node_of(m, layer).inputs[2]) for m in (insert(graph, Scheme(), plan), safe))
    np.testing.assert_allclose(new - old, np.where(kept, 0.5, 0.0), rtol=1e-6)


def test_a_bias_correction_is_added_also_where_there_was_no_bias(graph: ir.Model, plan: QuantPlan) -> None:
    for layer in ("stem.0", f"{BLOCK}.mlp.fc1"):
        size = len(plan.layers[layer].weight_scales)
        model = insert(graph, FREE, changed(plan, layer, bias_correction=(0.5,) * size))
        old, new = node_of(graph, layer).inputs[2:], node_of(model, layer).inputs[2]
        before = old[0].const_value.numpy() if old else np.zeros(size)  # type: ignore[union-attr]
        np.testing.assert_allclose(new.const_value.numpy(), before + 0.5, rtol=1e-6)  # type: ignore[union-attr]


def test_an_output_of_the_file_keeps_its_name(graph: ir.Model, plan: QuantPlan) -> None:
    model = insert(graph, Scheme(outputs=frozenset([Role.CLASSIFIER])), plan)
    assert [v.name for v in model.graph.outputs] == ["logits"]
    logits = run_onnx(model, images_of(graph)[0])["logits"]
    grid = plan.layers["logits"].output.asymmetric
    np.testing.assert_allclose(logits / grid.scale, np.rint(logits / grid.scale), atol=1e-3)


def test_a_plan_of_another_network_is_refused(graph: ir.Model, plan: QuantPlan) -> None:
    layers = {name: layer for name, layer in plan.layers.items() if name != "logits"}
    with pytest.raises(UsageError, match="no layer 'logits'"):
        insert(graph, Scheme(), replace(plan, layers=layers))
    with pytest.raises(UsageError, match="weight_scales has 3 numbers, the layer has 5 channels"):
        insert(graph, Scheme(), changed(plan, "logits", weight_scales=(1.0, 1.0, 1.0)))
    with pytest.raises(UsageError, match=r"no 'stages\.0\.blocks\.0\.mlp\.act'"):
        insert(graph, Scheme(activations=True), replace(plan, activations={}))


def test_static_needs_a_plan(graph: ir.Model) -> None:
    with pytest.raises(EdgecvxError, match="needs a plan"):
        insert(graph, Scheme(), None)


def test_dynamic_takes_nothing_but_smoothing_from_a_plan(graph: ir.Model, plan: QuantPlan) -> None:
    layer = f"{BLOCK}.mlp.fc2"
    factors = tuple(1.0 + i / 64 for i in range(array_of(node_of(graph, layer).inputs[1]).shape[1]))
    model = insert(graph, DYNAMIC, changed(plan, layer, smoothing=factors))
    assert not any(node.op_type == "QuantizeLinear" for node in model.graph)
    image = images_of(graph)[0]
    near, plain = (run_onnx(m, image)["logits"] for m in (model, insert(graph, DYNAMIC, None)))
    exact = run_onnx(graph, image)["logits"]
    assert support.relative_error(near, exact) < 0.05 and not np.array_equal(near, plain)


def test_every_task_has_a_quantized_graph() -> None:
    for task in (Task.FEATURES, Task.EMBED):
        graph = graph_of(task)
        assert is_quantized(insert(graph, Scheme(), plan_of(graph)))


def test_grids_are_read_only_where_they_are_per_tensor(graph: ir.Model, plan: QuantPlan) -> None:
    model = insert(graph, Scheme(), plan)
    quantize = next(n for n in model.graph if n.op_type == "QuantizeLinear")
    assert grid_of(quantize) == plan.layers["stem.0"].input.asymmetric


def test_a_scheme_may_ask_how_far_the_activation_function_reached(graph: ir.Model, plan: QuantPlan) -> None:
    """In the node's metadata, which changes nothing that is computed; other schemes' graphs stay as they are."""
    plain, asked = (insert(graph, replace(FREE, activation_reach=wanted), plan) for wanted in (False, True))
    act = f"{BLOCK}.mlp.act"
    seen = plan.activations[act]
    assert float(node_of(asked, act).metadata_props[ACTIVATION_REACH]) == max(-seen.low, seen.high)
    image = images_of(graph)[0]
    assert np.array_equal(run_onnx(asked, image)["logits"], run_onnx(plain, image)["logits"])
    for node in asked.graph:
        node.metadata_props.pop(ACTIVATION_REACH, None)
    assert serialized(asked) == serialized(plain) == serialized(insert(graph, FREE, plan))


def test_the_reach_is_asked_of_a_calibration(graph: ir.Model, plan: QuantPlan) -> None:
    with pytest.raises(EdgecvxError, match="a dynamic scheme"):
        Scheme(dynamic=True, activation_reach=True)
    with pytest.raises(UsageError, match=r"the plan has no .*\.mlp\.act.*calibrate this model again"):
        insert(graph, replace(FREE, activation_reach=True), replace(plan, activations={}))
