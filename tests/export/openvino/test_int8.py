"""OpenVINO's INT8: the quantized graph's own numbers, computed in integers where the file says so."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from lowerings import NETWORKS, canonical, run, worst, written
from quantized import images_of, kept, plan_of, run_onnx
from support import network, probe, relative_error
from torch.nn import functional as F

pytest.importorskip("openvino")

import openvino as ov
from opening import open_openvino as open_session

from edgecvx.errors import ExportError, UsageError
from edgecvx.export.base import Lowered, Options
from edgecvx.export.openvino.expose import expose, inner_tensors
from edgecvx.export.openvino.lower import lower
from edgecvx.export.openvino.reader import read_ops
from edgecvx.graph.qdq import quantized_input, weight_of
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.quantize.insert import insert
from edgecvx.spec import Precision, PreprocessSpec, Task
from edgecvx.targets import get_target

INT8 = Options(precision=Precision.INT8)
SCHEME = get_target("openvino").schemes[Precision.INT8]
WHOLE = Scheme()
"""Every layer in INT8, depthwise ones too."""
ROUNDING = 0.05
"""A number halfway between two steps of a grid may be rounded either way. A step is 0.4% of a range, and through five
blocks of random weights one such step was seen to become 2.3% of the largest logit."""
EXACT = 1e-5
"""An integer kernel makes no mistake but float32's own, when it scales its sums and adds the bias."""


def quantized(graph: ir.Model, scheme: Scheme = SCHEME) -> ir.Model:
    return insert(graph, scheme, plan_of(graph))


def expected(graph: ir.Model, x: np.ndarray) -> list[np.ndarray]:
    names = [str(output.name) for output in graph.graph.outputs]
    found = run_onnx(graph, x)
    return [found[name] for name in names]


def looked_into(graph: ir.Model, x: np.ndarray, folder: Path) -> dict[str, np.ndarray]:
    """All values of the file lowered from a quantized graph."""
    names = [str(v.name) for n in graph.graph if n.op_type != "QuantizeLinear" for v in n.outputs]
    names = [name for name in names if not name.endswith(".weight.dequantized")]
    return {"image": x, **run(lower(graph, replace(INT8, taps=tuple(names))), x, folder, open_session)}


def errors_of_layers(graph: ir.Model, values: dict[str, np.ndarray]) -> dict[str, float]:
    """Each layer alone: what the file made of its own input, against float32 with the weights it stands for.

    No mistake is inherited, so these errors are small where the file is right.
    """
    found = {}
    for node in graph.graph:
        if node.op_type not in ("Conv", "Gemm"):
            continue
        image, weights, *bias = node.inputs
        weight = weight_of(weights)
        w = torch.from_numpy(weight.dequantize() if weight else weights.const_value.numpy().copy())  # type: ignore[union-attr]
        b = torch.from_numpy(bias[0].const_value.numpy().copy()) if bias else None  # type: ignore[union-attr]
        x = torch.from_numpy(values[str(image.name)].astype(np.float32))  # type: ignore[union-attr]
        if node.op_type == "Gemm":
            y = F.linear(x, w, b)
        else:
            stride, pads = (node.attributes[key].as_ints() for key in ("strides", "pads"))
            y = F.conv2d(x, w, b, stride, pads[:2], 1, node.attributes["group"].as_int())
        name = str(node.outputs[0].name)
        found[name] = relative_error(values[name], y.numpy())
    return found


def executed(lowered: Lowered, folder: Path) -> list[tuple[str, str, str]]:
    """What the CPU plugin really runs: each layer's type, its kernel, and the canonical layers in it."""
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": "1"}
    compiled = ov.Core().compile_model(written(lowered, folder), "CPU", settings)
    infos = [op.get_rt_info() for op in compiled.get_runtime_model().get_ordered_ops()]
    keys = ("layerType", "primitiveType", "originalLayersNames")
    return [tuple(info[key].astype(str) if key in info else "" for key in keys) for info in infos]  # type: ignore[misc]


@pytest.mark.parametrize("folds", [None, ()], ids=["folded", "unfolded"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_the_quantized_graph_says(name: str, folds: Any, tmp_path: Path) -> None:
    graph = quantized(canonical(network(**NETWORKS[name]), batch=2, folds=folds), WHOLE)
    (x,) = images_of(graph, 1, seed=7)
    assert worst(run(lower(graph, INT8), x, tmp_path, open_session), expected(graph, x)) < ROUNDING


@pytest.mark.parametrize("task", [Task.FEATURES, Task.EMBED])
def test_the_other_tasks(task: Task, tmp_path: Path) -> None:
    graph, x = quantized(canonical(network(), task=task)), probe(seed=7)
    assert worst(run(lower(graph, INT8), x, tmp_path, open_session), expected(graph, x)) < ROUNDING


@pytest.mark.parametrize(
    "scheme",
    [
        Scheme(symmetric=True),
        Scheme(outputs=frozenset(Role), activations=True),
        Scheme(inputs=frozenset([Role.FC1])),
    ],
    ids=["symmetric", "outputs too", "some layers"],
)
def test_any_scheme_can_be_written(scheme: Scheme, tmp_path: Path) -> None:
    graph, x = quantized(canonical(network()), scheme), probe(seed=7)
    assert worst(run(lower(graph, INT8), x, tmp_path, open_session), expected(graph, x)) < ROUNDING


def test_weights_alone_in_int8_are_computed_in_float(tmp_path: Path) -> None:
    scheme = Scheme(dynamic=True)
    graph, x = insert(canonical(network(), task=Task.FEATURES), scheme, None), probe(seed=7)
    lowered = lower(graph, Options(precision=Precision.INT8_DYNAMIC))
    assert worst(run(lowered, x, tmp_path, open_session), expected(graph, x)) < EXACT
    assert not any(op.bits for op in read_ops(written(lowered, tmp_path)))


def test_each_layer_is_exact_on_its_own_input(tmp_path: Path) -> None:
    graph = quantized(canonical(network()), WHOLE)
    values = looked_into(graph, probe(seed=7), tmp_path)
    errors = errors_of_layers(graph, values)
    assert len(errors) == 20 and max(errors.values()) < EXACT, errors


def test_each_rounding_is_to_the_plans_grid(tmp_path: Path) -> None:
    graph = quantized(canonical(network()), WHOLE)
    values = looked_into(graph, probe(seed=7), tmp_path)
    for node in graph.graph:
        found = quantized_input(node.outputs[0])
        if found is None:
            continue
        source, grid = found
        steps = values[str(node.outputs[0].name)] / np.float32(grid.scale)
        asked = grid.quantize(values[str(source.name)]).astype(np.float32) - grid.zero_point
        assert np.abs(steps - np.rint(steps)).max() < 1e-3  # on the grid
        assert np.abs(steps - asked).max() < 1.001 and (np.abs(steps - asked) > 0.5).mean() < 1e-3  # halves aside


@pytest.mark.parametrize("broken", ["weights", "bias", "grid"])
def test_a_broken_file_is_told_apart(broken: str, tmp_path: Path) -> None:
    """The comparisons have teeth: one channel's scale or bias a little off, a grid without room for large values."""
    good, x = quantized(canonical(network()), WHOLE), probe(seed=7)
    bad = ir.serde.deserialize_model(ir.serde.serialize_model(good))
    layer = "stages.1.blocks.0.mlp.fc1"
    name = {"weights": f"{layer}.weight.scale", "bias": f"{layer}.bias", "grid": f"{layer}.input.scale"}[broken]
    constant = bad.graph.initializers[name]
    array = constant.const_value.numpy().copy()  # type: ignore[union-attr]
    if broken == "bias":
        array[3] += np.float32(0.01)
    else:
        array[... if broken == "grid" else 3] *= np.float32(0.3 if broken == "grid" else 1.01)
    constant.const_value = ir.tensor(array, name=name)
    values = looked_into(bad, x, tmp_path)
    if broken == "grid":
        assert worst({"logits": values["logits"]}, expected(good, x)) > 2 * ROUNDING
        return
    errors = errors_of_layers(good, values)
    assert errors.pop(layer) > 10 * EXACT
    assert max(errors.values()) < EXACT


def test_every_quantized_layer_runs_in_int8(tmp_path: Path) -> None:
    """Not what the file asks for, but what the plugin did with it."""
    graph = quantized(canonical(network()))
    layers = {str(n.outputs[0].name) for n in graph.graph if n.op_type in ("Conv", "Gemm")}
    kernels = {
        layer: kernel
        for kind, kernel, names in executed(lower(graph, INT8), tmp_path)
        for layer in layers & set(names.split(","))
        if kind in ("Convolution", "FullyConnected", "MatMul")
    }
    assert set(kernels) == layers
    assert {layer for layer, kernel in kernels.items() if kernel.lower().endswith("i8")} == {
        layer for layer in layers if SCHEME.quantizes(layer)
    }


def test_rounding_and_gelu_need_no_pass_of_their_own(tmp_path: Path) -> None:
    """GELU is inside fc1, and the rounding of fc1's and fc2's inputs inside the LayerNorm and the GRN before them."""
    layers = executed(lower(quantized(canonical(network())), INT8), tmp_path)
    alone = [kind for kind, _, names in layers if names and kind in ("FakeQuantize", "Eltwise", "Gelu")]
    assert not alone
    block = "stages.2.blocks.0"
    fused = {kind: names for kind, _, names in layers if f"{block}.mlp" in names or f"{block}.norm" in names}
    (fc1,) = [names for kind, _, names in layers if kind == "Convolution" and f"{block}.mlp.fc1" in names.split(",")]
    assert f"{block}.mlp.act" in fc1.split(",")
    assert f"{block}.mlp.fc1.input" in fused["NormalizeL2"].split(",")
    assert any({f"{block}.mlp.grn", f"{block}.mlp.fc2.input"} <= set(names.split(",")) for _, _, names in layers)


def test_bytes_go_into_the_stem_as_they_are(tmp_path: Path) -> None:
    graph = quantized(canonical(network(), preprocess=PreprocessSpec(size=64)), WHOLE)
    (x,) = images_of(graph, 1, seed=7)
    lowered = lower(graph, INT8)
    assert lowered.inputs[0].dtype == "uint8"
    assert worst(run(lowered, x, tmp_path, open_session), expected(graph, x)) < ROUNDING
    kinds = [kind for kind, _, names in executed(lowered, tmp_path) if kind not in ("Const", "Input", "Reshape")]
    before = kinds[: kinds.index("Convolution")]
    assert set(before) <= {"Reorder"}  # NCHW to NHWC, still bytes


def test_read_ops_tells_what_is_int8(tmp_path: Path) -> None:
    lowered = lower(quantized(canonical(network())), INT8)
    ops = read_ops(written(lowered, tmp_path))
    layers = {op.name.split("/")[0]: op.bits == 8 for op in ops if op.macs}
    assert layers == {name: SCHEME.quantizes(name) for name in layers} and len(layers) == 5 * 3 + 3 + 2
    assert not any(op.bits for op in ops if not op.macs)
    fc1 = next(op for op in ops if op.name == "stages.3.blocks.0.mlp.fc1/conv")
    assert fc1.const_bytes == 4 * 32 * 32 + 4 * 4 * 32  # int8 weights and their scales; the bias is added apart
    assert sum(op.const_bytes for op in ops) == pytest.approx(len(lowered.files[".bin"]), rel=0.1)
    assert not any(op.op in ("Convert", "Const") for op in ops)


def test_the_file_is_small_and_always_the_same() -> None:
    graph = quantized(canonical(network(num_classes=1000, dims=(32, 64, 96, 128))))
    full = lower(canonical(network(num_classes=1000, dims=(32, 64, 96, 128))), Options())
    first, second = (lower(graph, INT8) for _ in range(2))
    assert first.files == second.files  # also the second one in a process, where OpenVINO counts on
    assert len(first.files[".bin"]) < 0.28 * len(full.files[".bin"])
    assert len(first.files[".xml"].splitlines()) == 1


def test_kept_float_names_the_layers() -> None:
    graph, floats = canonical(network()), {f"stages.{stage}.blocks.0.conv_dw" for stage in (0, 1)}
    reasons = lower(insert(graph, SCHEME, plan_of(graph), kept(graph, *floats)), INT8).kept_float
    assert {name for name in reasons if name.startswith("stages.")} == floats
    assert {"LayerNorm", "GRN", "GELU", "residual sum", "pooling"} <= set(reasons)
    v1 = lower(quantized(canonical(network(grn=False), task=Task.FEATURES), WHOLE), INT8).kept_float
    assert "GRN" not in v1 and "pooling" not in v1


def test_a_graph_and_its_precision_belong_together() -> None:
    graph = canonical(network())
    with pytest.raises(ExportError, match="a float graph cannot be written with precision int8"):
        lower(graph, INT8)
    with pytest.raises(ExportError, match="a quantized graph cannot be written with precision fp32"):
        lower(quantized(graph), Options())


def test_every_canonical_value_can_be_looked_at(tmp_path: Path) -> None:
    """By taps and by a debug build of the finished file; only the integers themselves are none of its values."""
    graph, x = quantized(canonical(network()), WHOLE), probe(seed=7)
    names = [str(v.name) for node in canonical(network()).graph for v in node.outputs]
    path = written(lower(graph, INT8), tmp_path)
    assert set(names) <= set(inner_tensors(path))
    for suffix, content in expose(path, names).items():
        (tmp_path / f"debug{suffix}").write_bytes(content)
    shown = open_session(tmp_path / "debug.xml", threads=1).run(x)
    tapped = run(lower(graph, replace(INT8, taps=tuple(names))), x, tmp_path, open_session)
    exact = run_onnx(graph, x, names)
    for name in names:
        assert worst({name: shown[name]}, [exact[name]]) < 2 * ROUNDING, name
        assert worst({name: tapped[name]}, [exact[name]]) < 2 * ROUNDING, name
    with pytest.raises(UsageError, match="unknown value"):
        lower(graph, replace(INT8, taps=("stem.0.input.int8",)))
