"""The canonical graph: closed, valid, named after the network, the same bytes every time, and right."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.reference
import onnx_ir as ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from support import PATHS, SMALL, assert_close, network, probe, relative_error

from edgecvx.errors import ExportError, UsageError
from edgecvx.graph import canonical
from edgecvx.graph.canonical import build_canonical, check_canonical, metadata_of
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.graph.probabilities import ending_in_softmax
from edgecvx.models.convnext import ConvNeXt, outputs_of
from edgecvx.spec import InputKind, ModelSpec, PreprocessSpec, Task, WeightsSource

DOC = Path(__file__).parents[2] / "docs" / "canonical-graph.md"
FLOAT32 = 5e-6
WHY = "float32 rounding (6e-8) of sums in another order, through five blocks"

NETWORKS: dict[str, dict[str, Any]] = {
    "v2": {},
    "v1": {"grn": False},
    "v1 overlap": {"grn": False, "stem": "overlap"},
    "v2 overlap_tiered": {"stem": "overlap_tiered"},
    "silu": {"act": "silu"},
    "gelu_tanh": {"act": "gelu_tanh"},
    "other kernels": {"kernel_sizes": (3, 5, 7, 9)},
    "other epsilons": {"norm_eps": 1e-2, "grn_eps": 1e-2, "head_norm_eps": 1e-12},
}


def proto_of(model: ir.Model) -> onnx.ModelProto:
    proto: onnx.ModelProto = ir.to_proto(model)
    return proto


def run(model: ir.Model, x: NDArray[Any]) -> list[NDArray[Any]]:
    """The outputs in onnxruntime, nothing fused, so that what is checked is the graph as written."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto_of(model).SerializeToString(), options, ["CPUExecutionProvider"])
    outputs: list[NDArray[Any]] = session.run(None, {"image": x})
    return outputs


@torch.no_grad()
def reference(module: ConvNeXt, x: NDArray[Any], task: Task = Task.CLASSIFY) -> list[NDArray[Any]]:
    """The outputs of the network as trained, in float64: what float32 is measured against."""
    exact = copy.deepcopy(module).double()
    return [y.numpy() for y in outputs_of(exact, torch.from_numpy(x).double(), task.value)]


# Closed, and written down.


def test_ops_are_the_table_of_the_document() -> None:
    section = DOC.read_text(encoding="utf-8").split("## Ops")[1].split("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    names = [name for cell in cells for name in re.findall(r"`([\w.]+)", cell)]
    written = {(canonical.DOMAIN, n.removeprefix("edgecvx.")) if n.startswith("edgecvx.") else ("", n) for n in names}
    assert written == canonical.OPS


def test_functions_use_the_ops_the_document_lists() -> None:
    (listed,) = re.findall(r"Their bodies use\s+`([\w\s]+)`", DOC.read_text(encoding="utf-8"))
    functions = [onnx.parser.parse_function(text) for text in canonical.FUNCTIONS]
    assert {node.op_type for f in functions for node in f.node} == set(listed.split())
    assert {(canonical.DOMAIN, f.name) for f in functions} == {op for op in canonical.OPS if op[0]}


def test_every_op_of_the_set_is_reachable() -> None:
    """An op that no network needs would be work in every lowering for nothing."""
    met: set[tuple[str, str]] = set()
    for changes in NETWORKS.values():
        original = network(**changes)
        for module in (original, fold(original).module):
            met |= {(n.domain, n.op_type) for n in build_canonical(module, image_size=32).graph}
    bytes_in = build_canonical(fold_uint8_input(network(), PreprocessSpec()), image_size=32, input_kind=InputKind.UINT8)
    met |= {(n.domain, n.op_type) for n in ending_in_softmax(bytes_in).graph}
    assert met == canonical.OPS


def test_a_folded_v2_block_is_seven_nodes() -> None:
    graph = build_canonical(fold(network()).module, image_size=32).graph
    block = [n.op_type for n in graph if str(n.name).startswith("stages.2.blocks.1")]
    assert block == ["Conv", "LayerNorm2d", "Conv", "Gelu", "Grn", "Conv", "Add"]


# Right.


@pytest.mark.parametrize("task", Task)
@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_computes_what_the_network_computes(changes: dict[str, Any], task: Task) -> None:
    module, x = network(seed=1, **changes), probe(2, 64)
    expected = reference(module, x, task)
    for folds in (None, ()):
        graph = build_canonical(fold(module, folds, task=task).module, task=task, image_size=64, batch=2)
        actual = run(graph, x)
        assert len(actual) == len(expected)
        for a, e in zip(actual, expected, strict=True):
            assert_close(a, e, FLOAT32, why=WHY)


@pytest.mark.parametrize("folds", [None, ()], ids=["folded", "unfolded"])
def test_onnx_reference_evaluator_agrees(folds: tuple[str, ...] | None) -> None:
    """A second opinion that shares no code with onnxruntime: the operators as the ONNX standard spells them out."""
    module, x = network(seed=2), probe(1, 32)
    graph = build_canonical(fold(module, folds).module, image_size=32)
    (actual,) = onnx.reference.ReferenceEvaluator(proto_of(graph)).run(None, {"image": x})
    assert_close(actual, reference(module, x)[0], FLOAT32, why=WHY)


@pytest.mark.parametrize("size", range(32, 385, 32))
def test_any_multiple_of_the_stride_is_a_size(size: int) -> None:
    module, x = network(seed=3), probe(1, size)
    folded = fold(module, task=Task.FEATURES).module
    maps = run(build_canonical(folded, task=Task.FEATURES, image_size=size), x)
    assert [m.shape for m in maps] == [
        (1, c, size // s, size // s) for c, s in zip(SMALL.dims, (4, 8, 16, 32), strict=True)
    ]
    for a, e in zip(maps, reference(module, x, Task.FEATURES), strict=True):
        assert_close(a, e, FLOAT32, why=WHY)


@pytest.mark.parametrize("size", [0, 31, 100, 225, 4096])
def test_other_sizes_are_refused(size: int) -> None:
    with pytest.raises(UsageError, match=f"image size {size} does not work"):
        build_canonical(network(), image_size=size)


def test_pictures_of_a_batch_do_not_touch_each_other() -> None:
    module, x = fold(network(seed=4)).module, probe(3, 32)
    together = run(build_canonical(module, image_size=32, batch=3), x)[0]
    single = build_canonical(module, image_size=32)
    for i in range(3):
        assert_close(together[i : i + 1], run(single, x[i : i + 1])[0], 1e-6, why="the same sums, vectorized otherwise")


def test_a_batch_of_nothing_is_refused() -> None:
    with pytest.raises(ExportError, match="batch 0 does not work"):
        build_canonical(network(), batch=0)


@pytest.mark.parametrize("task", Task)
def test_bytes_in(task: Task) -> None:
    spec = PreprocessSpec()
    module = network(seed=5)
    picture = np.random.default_rng(5).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    takes_bytes = fold_uint8_input(fold(module, task=task).module, spec)
    graph = build_canonical(takes_bytes, task=task, image_size=64, input_kind=InputKind.UINT8)
    mean, std = (np.array(v).reshape(1, 3, 1, 1) for v in (spec.mean, spec.std))
    expected = reference(module, (picture / 255.0 - mean) / std, task)
    for a, e in zip(run(graph, picture), expected, strict=True):
        assert_close(
            a, e, 1e-4, why="float32 rounding of sums of 48 products up to 255, which the offset cancels again"
        )
    first = graph.graph[0]
    assert (first.op_type, [n.op_type for n in graph.graph].count("Cast")) == ("Cast", 1)


def test_a_broken_graph_is_noticed() -> None:
    """The comparisons above would see one wrong constant."""
    module, x = network(seed=6), probe(1, 64)
    expected = reference(module, x)[0]
    for part in ("stages.3.blocks.0.mlp.grn.weight", "stages.0.blocks.0.conv_dw.bias", "head.norm.bias"):
        wrong = copy.deepcopy(module)
        with torch.no_grad():
            wrong.get_parameter(part).mul_(1.01)
        actual = run(build_canonical(fold(wrong).module, image_size=64), x)[0]
        assert relative_error(actual, expected) > 10 * FLOAT32, part


# Written the way the document says.


@pytest.mark.parametrize("task", Task)
def test_inputs_and_outputs(task: Task) -> None:
    graph = build_canonical(network(), task=task, image_size=96, batch=2).graph
    outputs: dict[Task, dict[str, tuple[int, ...]]] = {
        Task.CLASSIFY: {"logits": (2, 10)},
        Task.FEATURES: {f"feature{i}": (2, c, 24 >> i, 24 >> i) for i, c in enumerate(SMALL.dims)},
        Task.EMBED: {"embedding": (2, 32)},
    }
    for values, expected in ((graph.inputs, {"image": (2, 3, 96, 96)}), (graph.outputs, outputs[task])):
        assert {v.name: tuple(v.shape or ()) for v in values} == expected
        assert all(v.dtype == ir.DataType.FLOAT for v in values)


@pytest.mark.parametrize("changes", NETWORKS.values(), ids=NETWORKS)
def test_declared_shapes_are_the_real_ones(changes: dict[str, Any]) -> None:
    """Lowerings trust them: every value as an output, run, and compared with what the graph says of it."""
    model = build_canonical(fold(network(**changes)).module, image_size=64, batch=2)
    values = [node.outputs[0] for node in model.graph]
    declared = {str(v.name): tuple(v.shape or ()) for v in values}
    model.graph.outputs[:] = values
    for name, array in zip(declared, run(model, probe(2, 64)), strict=True):
        assert array.shape == declared[name], name


def test_constants_are_named_after_their_parameters_and_hold_them() -> None:
    module = network(seed=7)
    graph = build_canonical(module, image_size=32).graph
    constants = {n: v.const_value.numpy() for n, v in graph.initializers.items() if v.const_value is not None}
    parameters = {
        re.sub(r"grn\.weight$", "grn.gamma", name): p.detach().numpy() for name, p in module.named_parameters()
    }
    assert {n for n in constants if not n.endswith(".grn.base")} == set(parameters)
    for name, array in parameters.items():
        assert np.array_equal(constants[name].reshape(array.shape), array), name


@pytest.mark.parametrize("folds", [None, ()], ids=["folded", "unfolded"])
def test_values_are_named_after_their_modules(folds: tuple[str, ...] | None) -> None:
    """And hold what those modules give: a tensor is found again in any file lowered from the graph."""
    module = fold(network(seed=8), folds).module
    model = build_canonical(module, image_size=64)
    seen: dict[str, NDArray[Any]] = {}
    for name, part in module.named_modules():
        part.register_forward_hook(lambda _m, _i, y, name=name: seen.update({name: y.detach().numpy()}))
    x = probe(1, 64)
    with torch.no_grad():
        module(torch.from_numpy(x))
    values = {str(node.outputs[0].name): node.outputs[0] for node in model.graph}
    names = [n for n in values if n in seen]
    assert {"stem.0", "stem.1", "stages.2.blocks.1", "stages.2.blocks.1.mlp.grn", "stages.3.downsample.1"} <= set(names)
    model.graph.outputs[:] = [values[n] for n in names]
    for name, array in zip(names, run(model, x), strict=True):
        assert_close(array, seen[name], FLOAT32, why=WHY)


def test_nodes_carry_the_names_of_their_outputs() -> None:
    graph = build_canonical(network(), image_size=32).graph
    names = [node.name for node in graph]
    assert len(set(names)) == len(names)
    assert names == [node.outputs[0].name for node in graph]


def test_zero_biases_are_dropped_and_others_kept() -> None:
    module = network(seed=9)
    with torch.no_grad():
        for name, p in module.named_parameters():
            if name.endswith(("fc1.bias", "head.fc.bias")):
                p.zero_()
    graph = build_canonical(module, image_size=64)
    lengths = {str(n.name): len(n.inputs) for n in graph.graph if n.op_type in ("Conv", "Gemm")}
    assert {n for n, count in lengths.items() if count == 2} == {
        *(n for n in lengths if n.endswith(".fc1")),
        "logits",
    }
    x = probe(1, 64)
    assert_close(run(graph, x)[0], reference(module, x)[0], FLOAT32, why=WHY)


def test_a_convolution_without_bias_gets_one_only_where_a_fold_needs_it() -> None:
    module = network(seed=10)
    for part in module.modules():
        if isinstance(part, torch.nn.Conv2d):
            part.bias = None
    x = probe(1, 64)
    for folds in (None, ()):
        graph = build_canonical(fold(module, folds).module, image_size=64)
        with_bias = {str(n.name).rsplit(".", 1)[-1] for n in graph.graph if n.op_type == "Conv" and len(n.inputs) == 3}
        assert with_bias == (set() if folds == () else {"fc1", "fc2", "1"})  # "1": the downsample's convolution
        assert_close(run(graph, x)[0], reference(module, x)[0], FLOAT32, why=WHY)


def test_only_used_functions_travel_along() -> None:
    names = {
        grn: [f.name for f in build_canonical(fold(network(grn=grn)).module, image_size=32).functions.values()]
        for grn in (True, False)
    }
    assert names == {True: ["LayerNorm2d", "Grn"], False: ["LayerNorm2d"]}


# The same bytes every time.

_BUILD = """
import hashlib, onnx_ir
from support import network
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
model = build_canonical(fold(network(seed=11)).module, image_size=64, metadata={"b": "1", "a": "2"})
print(hashlib.sha256(onnx_ir.to_proto(model).SerializeToString()).hexdigest())
"""


def test_the_same_weights_give_the_same_bytes_in_every_process() -> None:
    """Python's string hashes, and with them the order of sets, differ from process to process."""
    model = build_canonical(fold(network(seed=11)).module, image_size=64, metadata={"b": "1", "a": "2"})
    here = hashlib.sha256(proto_of(model).SerializeToString()).hexdigest()
    for seed in ("1", "2"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": PATHS}
        there = subprocess.run([sys.executable, "-c", _BUILD], env=env, capture_output=True, text=True, check=True)
        assert there.stdout.strip() == here


def test_building_leaves_the_network_alone() -> None:
    module = network(seed=12)
    before = copy.deepcopy(module.state_dict())
    build_canonical(module, image_size=32)
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())


# What is refused.


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_damaged_weights_are_refused_by_name(value: float) -> None:
    module = network()
    with torch.no_grad():
        module.get_parameter("stages.1.blocks.0.mlp.fc1.weight")[3, 2] = value
    with pytest.raises(ExportError, match=r"'stages\.1\.blocks\.0\.mlp\.fc1\.weight' holds NaN or infinite.*damaged"):
        build_canonical(module, image_size=32)


def test_damaged_weights_do_not_hide_in_a_fold() -> None:
    module = network()
    with torch.no_grad():
        module.get_parameter("stages.1.blocks.0.norm.bias")[0] = float("nan")
    with pytest.raises(ExportError, match=r"stages\.1\.blocks\.0\.mlp\.fc1\.bias"):
        build_canonical(fold(module).module, image_size=32)


def test_an_op_outside_the_set_is_refused() -> None:
    model = build_canonical(network(), image_size=32)
    logits = model.graph.outputs[0]
    relu = ir.node("Relu", [logits], name="extra")
    relu.outputs[0].shape, relu.outputs[0].type = logits.shape, logits.type
    model.graph.append(relu)
    with pytest.raises(ExportError, match=r"extra: ai\.onnx\.Relu is not an op of the canonical graph"):
        check_canonical(model)


def test_a_value_without_shape_is_refused() -> None:
    model = build_canonical(network(), image_size=32)
    model.graph[3].outputs[0].shape = None
    with pytest.raises(ExportError, match="has no static shape"):
        check_canonical(model)


def test_what_onnx_refuses_is_refused() -> None:
    model = build_canonical(network(), image_size=32)
    conv = next(n for n in model.graph if n.op_type == "Conv")
    conv.outputs[0].shape = ir.Shape((1, 8, 9, 9))  # really 8x8
    with pytest.raises(ExportError, match="not valid ONNX"):
        check_canonical(model)


def test_a_network_without_classifier_gives_no_logits() -> None:
    module = network(num_classes=0)
    with pytest.raises(ExportError, match=r"no classifier.*--task features or --task embed"):
        build_canonical(module, image_size=32)
    build_canonical(module, task=Task.EMBED, image_size=32)


# What travels inside.


def test_metadata() -> None:
    source = WeightsSource(kind="random", ref="0", layout="timm", sha256="0" * 64, license="cc-by-nc-4.0")
    labels = ("Füchse", "cat", '"quoted"')
    spec = ModelSpec(
        arch=SMALL, tag="random", num_classes=3, preprocess=PreprocessSpec(), weights=source, labels=labels
    )
    metadata = metadata_of(spec, Task.CLASSIFY)
    assert sorted(metadata) == [f"edgecvx.{k}" for k in ("labels", "license", "model", "preprocess", "task")]
    assert json.loads(metadata["edgecvx.labels"]) == list(labels)
    assert json.loads(metadata["edgecvx.preprocess"])["mean"] == list(PreprocessSpec().mean)
    assert "edgecvx.labels" not in metadata_of(spec, Task.EMBED)
    model = build_canonical(network(num_classes=3), image_size=32, metadata=metadata)
    read = onnx.load_from_string(proto_of(model).SerializeToString())
    assert {p.key: p.value for p in read.metadata_props} == metadata
