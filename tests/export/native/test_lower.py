"""A file of the native engine says what the quantized graph computes: read back and computed in plain numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from ecvx_reference import answer
from lowerings import canonical
from quantized import images_of, kept, plan_of, run_onnx, tensor_plan
from support import network, relative_error

from edgecvx.errors import EdgecvxError, ExportError, UsageError
from edgecvx.export.native.description import Description, FloatLinear, Int8Linear
from edgecvx.export.native.format import INT8
from edgecvx.export.native.lower import NativeOptions, lower
from edgecvx.export.native.parser import parse
from edgecvx.export.native.writer import write
from edgecvx.graph.grids import as_float32, weight_scales
from edgecvx.graph.scheme import ACTIVATION_REACH, Role, Scheme
from edgecvx.graph.values import array_of
from edgecvx.quantize.insert import insert
from edgecvx.quantize.plan import QuantPlan
from edgecvx.quantize.smooth import smoothed_weight
from edgecvx.spec import InputKind, Precision, PreprocessSpec, Task, to_json

Array = np.ndarray[Any, Any]

PREPROCESS = PreprocessSpec(size=64)
METADATA = {"edgecvx.model": "small.test", "edgecvx.preprocess": json.dumps(to_json(PREPROCESS))}
ROUNDING = 0.02
"""A number next to the middle between two steps of a grid is rounded either way: float32 and float64 may differ there.
A step is 0.4% of a range. Mostly no number lies so close, and what differs is 3e-7; one that did made 0.1%."""
FLOAT = 1e-5
"""Where nothing is rounded, float32's own mistakes through five blocks."""

NETWORKS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v1": {"grn": False},
    "v1 overlapping stem, tanh GELU": {"grn": False, "stem": "overlap", "act": "gelu_tanh"},
    "v2 tiered stem, SiLU, other kernels": {"stem": "overlap_tiered", "act": "silu", "kernel_sizes": (3, 5, 7, 7)},
}


def graph_of(*, task: Task = Task.CLASSIFY, **changes: Any) -> ir.Model:
    options = {name: changes.pop(name) for name in ("batch", "folds", "preprocess") if name in changes}
    return canonical(network(**changes), task=task, metadata={**METADATA, "edgecvx.task": task.value}, **options)


def quantized(graph: ir.Model, *floats: str, plan: QuantPlan | None = None) -> ir.Model:
    """Under the target's own scheme; layers that match a pattern stay float."""
    return insert(graph, INT8, plan_of(graph) if plan is None else plan, kept(graph, *floats) if floats else None)


def written(graph: ir.Model, taps: Sequence[str] = ()) -> bytes:
    return lower(graph, NativeOptions(taps=tuple(taps))).files[".ecvx"]


def channels_last(array: Array) -> Array:
    return array.transpose(0, 2, 3, 1) if array.ndim == 4 else array


def answers(graph: ir.Model, file: bytes, taps: Sequence[str] = ()) -> list[tuple[Array, Array]]:
    """For a picture: each output of a file, taps last, beside what the quantized graph returns there."""
    (x,) = images_of(graph, 1, seed=7)
    names = [str(output.name) for output in graph.graph.outputs] + list(taps)
    expected = run_onnx(graph, x, taps)
    found = answer(file, channels_last(x))
    return [(array, channels_last(expected[name])) for array, name in zip(found, names, strict=True)]


def worst(pairs: Sequence[tuple[Array, Array]]) -> float:
    return max(relative_error(actual, expected) for actual, expected in pairs)


@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_the_quantized_graph_says(name: str) -> None:
    graph = quantized(graph_of(batch=2, **NETWORKS[name]))
    assert worst(answers(graph, written(graph))) < ROUNDING


def test_the_demo_network_with_a_plan_of_its_own() -> None:
    """As an export makes it: trained weights, drawn pictures, grids and smoothing as they are decided."""
    from edgecvx.data.calibration import CalibrationFeed, open_calibration
    from edgecvx.data.dataset import DEMO
    from edgecvx.graph.network import canonical_graph
    from edgecvx.graph.values import spec_of
    from edgecvx.models.load import load_model
    from edgecvx.quantize.decide import decide
    from edgecvx.quantize.observe.calibrate import calibrate

    loaded = load_model("atto", weights="demo", image_size=64)
    graph, _ = canonical_graph(loaded.module, loaded.spec, task=Task.CLASSIFY, batch=1, input_kind=InputKind.FLOAT)
    feed = CalibrationFeed(open_calibration(DEMO, samples=8), loaded.spec.preprocess, spec_of(graph.graph.inputs[0]))
    made = insert(graph, INT8, decide(graph, calibrate(graph, feed)))
    file = written(made)
    for picture in list(feed)[:2]:
        (logits,) = answer(file, channels_last(picture))
        assert relative_error(logits, run_onnx(made, picture)["logits"]) < ROUNDING
    assert len(file) < 4.5e6 and parse(file).labels[0] == (loaded.spec.labels or ("",))[0]


@pytest.mark.parametrize("task", [Task.FEATURES, Task.EMBED])
@pytest.mark.parametrize("name", ["v2", "v1 overlapping stem, tanh GELU"])
def test_the_other_tasks(name: str, task: Task) -> None:
    graph = quantized(graph_of(task=task, **NETWORKS[name]))
    assert worst(answers(graph, written(graph))) < ROUNDING


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_that_stay_float_are_float(name: str) -> None:
    """All but one, which is rounded on the same grid by both: so no rounding hides a mistake of the rest."""
    everything = ("stem.?", "*.downsample.1", "*.fc1", "stages.[!3]*.fc2", "logits")
    graph = quantized(graph_of(**NETWORKS[name]), *everything)
    described = parse(file := written(graph))
    assert isinstance(described.classifier, FloatLinear) and isinstance(described.stages[3].blocks[0].fc2, Int8Linear)
    assert worst(answers(graph, file)) < 100 * FLOAT


@pytest.mark.parametrize("folds", [(), ("layer-scale", "grn-beta"), ("layer-scale", "grn-beta", "layernorm")])
@pytest.mark.parametrize("grn", [True, False], ids=["v2", "v1"])
def test_what_no_fold_took_becomes_part_of_a_layer(folds: tuple[str, ...], grn: bool) -> None:
    """Scales and biases of norms, the layer scale, and GRN by sums of squares."""
    if grn and "grn-beta" not in folds:
        folds = (*folds, "grn-beta")
    graph = quantized(graph_of(grn=grn, folds=folds))
    assert worst(answers(graph, written(graph))) < ROUNDING


def test_a_layer_scale_may_be_negative_or_zero() -> None:
    module = network(grn=False)
    for block in (block for stage in module.stages for block in stage.blocks):  # type: ignore[union-attr]
        block.gamma.data[::3] *= -1
        block.gamma.data[0] = 0
    graph = quantized(canonical(module, folds=(), metadata=METADATA))
    described = parse(file := written(graph))
    fc2 = described.stages[0].blocks[0].fc2
    assert isinstance(fc2, Int8Linear) and (fc2.scales > 0).all() and not fc2.weights[0].any()
    assert worst(answers(graph, file)) < ROUNDING


def test_a_bias_of_grn_needs_its_fold() -> None:
    with pytest.raises(ExportError, match=r"stages\.0\.blocks\.0\.mlp\.grn.*leave the fold grn-beta on"):
        written(quantized(graph_of(folds=())))


def test_bytes_go_into_the_stem_as_they_are() -> None:
    graph = quantized(graph_of(preprocess=PREPROCESS))
    lowered = lower(graph, NativeOptions())
    assert (lowered.inputs[0].dtype, lowered.inputs[0].shape) == ("uint8", (1, 64, 64, 3))
    (stem,) = parse(lowered.files[".ecvx"]).stem
    assert isinstance(stem.linear, Int8Linear) and (stem.linear.scale, stem.linear.zero_point) == (1.0, -128)
    assert worst(answers(graph, lowered.files[".ecvx"])) < ROUNDING


def test_bytes_go_into_a_float_stem_too() -> None:
    graph = quantized(graph_of(preprocess=PREPROCESS), "stem.0")
    assert worst(answers(graph, written(graph))) < ROUNDING


def smoothing(graph: ir.Model, layers: Sequence[str]) -> QuantPlan:
    """A plan that smooths some layers, each channel by a factor between a half and two."""
    plan, draw = plan_of(graph), np.random.default_rng(3)
    weights = {str(n.outputs[0].name): n.inputs[1] for n in graph.graph if n.op_type in ("Conv", "Gemm")}
    smoothed = {}
    for name in layers:
        weight = array_of(weights[name])
        factors = 2.0 ** draw.uniform(-1, 1, weight.shape[1])
        scales = weight_scales(smoothed_weight(weight, factors))
        smoothed[name] = replace(
            plan.layers[name],
            smoothing=tuple(map(float, factors)),
            weight_scales=tuple(as_float32(float(s)) for s in scales),
            input=tensor_plan(2 * plan.layers[name].input.low, 2 * plan.layers[name].input.high),
        )
    return replace(plan, layers={**plan.layers, **smoothed})


@pytest.mark.parametrize("name", NETWORKS)
def test_smoothing_adds_no_operation(name: str) -> None:
    """Behind a norm it goes into its scale, behind GRN into its constants, behind an activation into a factor."""
    graph = graph_of(**NETWORKS[name])
    blocks = [f"stages.{stage}.blocks.0.mlp.fc{number}" for stage in (0, 3) for number in (1, 2)]
    layers = [*blocks, "stages.1.downsample.1", "logits", *["stem.1"] * ("stem" in NETWORKS[name])]
    smoothed = quantized(graph, plan=smoothing(graph, layers))
    assert worst(answers(smoothed, written(smoothed))) < ROUNDING


@pytest.mark.parametrize("name", NETWORKS)
def test_inner_tensors_are_those_of_the_graph(name: str) -> None:
    graph = quantized(graph_of(batch=2, **NETWORKS[name]))
    norm = "stem.2" if "stem" in NETWORKS[name] else "stem.1"
    block = "stages.2.blocks.1"
    taps = (norm, "stages.2.downsample.1", f"{block}.conv_dw", f"{block}.mlp.act", block, "stages.0.blocks.0")
    lowered = lower(graph, NativeOptions(taps=taps))
    assert [output.name for output in lowered.outputs] == ["logits", *taps]
    found = answers(graph, lowered.files[".ecvx"], taps)
    assert [array.shape for array, _ in found] == [output.shape for output in lowered.outputs]
    assert worst(found) < ROUNDING


def test_the_first_layers_are_exact_on_their_own_input() -> None:
    """Bytes are on their grid: nothing is rounded before the first LayerNorm, and the integers are the graph's own."""
    graph, tap = quantized(graph_of(preprocess=PREPROCESS)), ("stem.1", "stages.0.blocks.0.conv_dw")
    assert worst(answers(graph, written(graph, tap), tap)[1:]) < FLOAT


@pytest.mark.parametrize("broken", ["scale", "weight order", "bias", "base", "epsilon", "norm"])
def test_a_broken_file_is_told_apart(broken: str) -> None:
    """The comparison has teeth: it sees one layer that is off."""
    graph = quantized(graph_of())
    described = parse(written(graph))
    assert worst(answers(graph, write(_broken(described, broken)))) > 2 * ROUNDING


def _broken(described: Description, what: str) -> Description:
    stage = described.stages[3]
    (block,) = stage.blocks
    assert isinstance(block.fc1, Int8Linear) and block.grn is not None and stage.downsample is not None
    downsample = stage.downsample
    if what == "weight order":  # channels, rows, columns
        rows = downsample.linear.weights.reshape(len(downsample.linear.bias), 4, -1).transpose(0, 2, 1)
        turned = np.ascontiguousarray(rows.reshape(downsample.linear.weights.shape))
        downsample = replace(downsample, linear=replace(downsample.linear, weights=turned))  # type: ignore[arg-type]
    block = {
        "scale": lambda: replace(block, fc1=replace(block.fc1, scales=block.fc1.scales[::-1].copy())),
        "bias": lambda: replace(block, bias=-block.bias),
        "base": lambda: replace(block, base=0 * block.base),
        "epsilon": lambda: replace(block, grn=replace(block.grn, epsilon=1.0)),
        "norm": lambda: replace(block, norm=replace(block.norm, scale=block.norm.scale * np.float32(1.2))),
        "weight order": lambda: block,
    }[what]()
    stages = (*described.stages[:3], replace(stage, downsample=downsample, blocks=(block,)))
    return replace(described, stages=stages)


def test_the_file_says_what_it_is_and_is_always_the_same() -> None:
    metadata = {
        **METADATA,
        "edgecvx.license": "Apache-2.0",
        "edgecvx.labels": json.dumps([f"Ä {index}" for index in range(10)]),
    }
    graph = insert(plain := canonical(network(), metadata=metadata, batch=3), INT8, plan_of(plain))
    first, second = (lower(graph, NativeOptions()) for _ in range(2))
    assert first.files == second.files
    described = parse(first.files[".ecvx"])
    assert (described.name, described.license, described.batch) == ("small.test", "Apache-2.0", 3)
    assert described.labels[2] == "Ä 2" and described.preprocess == PREPROCESS
    assert first.inputs[0].layout == "NHWC" and first.outputs[0].layout == "NC"


def test_the_reach_of_an_activation_function_comes_from_the_plan() -> None:
    graph = graph_of()
    plan = plan_of(graph)
    described = parse(written(quantized(graph, plan=plan)))
    for stage, number in ((0, 0), (2, 1)):
        seen = plan.activations[f"stages.{stage}.blocks.{number}.mlp.act"]
        assert described.stages[stage].blocks[number].high == np.float32(max(-seen.low, seen.high))


def test_kept_float_names_the_layers() -> None:
    reasons = lower(quantized(graph_of(), "stages.1.*.fc1"), NativeOptions()).kept_float
    assert "stages.1.blocks.0.mlp.fc1" in reasons and {"depthwise Conv", "GRN", "pooling"} <= set(reasons)
    assert sum(name.startswith("stages.") for name in reasons) == 1
    v1 = lower(quantized(graph_of(task=Task.FEATURES, grn=False)), NativeOptions()).kept_float
    assert "GRN" not in v1 and "pooling" not in v1


def test_a_graph_of_another_scheme_is_refused() -> None:
    graph = graph_of()
    schemes = {
        "conv_dw is INT8.*another target": Scheme(activation_reach=True),
        "does not say how far .*mlp.act": replace(INT8, activation_reach=False),
        "another target": replace(INT8, outputs=frozenset([Role.FC1])),
        "activation function belongs": replace(INT8, activations=True),
    }
    for message, scheme in schemes.items():
        with pytest.raises(ExportError, match=message):
            written(insert(graph, scheme, plan_of(graph)))
    with pytest.raises(ExportError, match="a grid for its weights or for its input alone"):
        written(insert(graph, Scheme(inputs=INT8.inputs, dynamic=True), None))


def test_what_the_engine_does_not_have_is_refused() -> None:
    graph = quantized(graph_of())
    with pytest.raises(ExportError, match="a float graph cannot be written with precision int8"):
        written(graph_of())
    with pytest.raises(ExportError, match="a quantized graph cannot be written with precision fp16"):
        lower(graph, NativeOptions(precision=Precision.FP16))
    with pytest.raises(EdgecvxError, match="9x9, and the native engine has 3x3, 5x5 and 7x7"):
        written(quantized(graph_of(kernel_sizes=(7, 7, 7, 9))))
    with pytest.raises(UsageError, match="unknown value of a file of the native engine"):
        written(graph, ["stages.0.blocks.0.norm"])
    with pytest.raises(ExportError, match=r"edgecvx\.preprocess"):
        written(insert(bare := canonical(network()), INT8, plan_of(bare)))


def test_other_targets_graphs_say_nothing_of_the_reach() -> None:
    graph = insert(plain := graph_of(), replace(INT8, activation_reach=False), plan_of(plain))
    assert not any(ACTIVATION_REACH in node.metadata_props for node in graph.graph)
