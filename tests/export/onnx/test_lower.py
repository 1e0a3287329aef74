"""The ONNX lowering: the same function as PyTorch, in standard operations, in the form it promises."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from lowerings import (
    FP16_CLOSE,
    FP32_CLOSE,
    NETWORKS,
    canonical,
    in_declared_types,
    nearly_zero,
    overflowing,
    reference,
    run,
    worst,
    written,
)
from onnx.reference import ReferenceEvaluator
from support import assert_close, network, probe, relative_error

pytest.importorskip("onnxruntime")

from opening import open_onnxruntime as open_session

from edgecvx.errors import ArtifactError, ExportError, UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.onnx.lower import OnnxOptions, lower
from edgecvx.export.onnx.reader import read_ops
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.spec import ArchSpec, Precision, PreprocessSpec, Task, TensorSpec

FP16 = OnnxOptions(precision=Precision.FP16)
OPS = {"Add", "Cast", "Conv", "Div", "Flatten", "Gelu", "Gemm", "LayerNormalization", "MatMul", "Mul"}
OPS |= {"ReduceMean", "ReduceSum", "Reshape", "Sigmoid", "Sqrt", "Transpose"}
"""As in docs/onnx.md."""


def model_of(lowered: Lowered) -> onnx.ModelProto:
    return onnx.load_from_string(lowered.files[".onnx"])


@pytest.mark.parametrize("folds", [None, ()], ids=["folded", "unfolded"])
@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_pytorch_computes(name: str, batch: int, folds: Any, tmp_path: Path) -> None:
    module, x = network(**NETWORKS[name]), probe(batch)
    graph = canonical(module, batch=batch, folds=folds)
    assert worst(run(lower(graph, OnnxOptions()), x, tmp_path, open_session), reference(module, x)) < FP32_CLOSE
    assert worst(run(lower(graph, FP16), x, tmp_path, open_session), reference(module, x)) < FP16_CLOSE


@pytest.mark.parametrize("options", [OnnxOptions(), FP16], ids=["fp32", "fp16"])
@pytest.mark.parametrize("task", [Task.FEATURES, Task.EMBED])
def test_the_other_tasks_return_maps_and_vectors(task: Task, options: OnnxOptions, tmp_path: Path) -> None:
    module, x = network(), probe(2)
    lowered = lower(canonical(module, task=task, batch=2), options)
    limit = FP32_CLOSE if options.precision is Precision.FP32 else FP16_CLOSE
    assert worst(run(lowered, x, tmp_path, open_session), reference(module, x, task)) < limit
    assert all(o.dtype == "float32" and o.layout == ("NC" if task is Task.EMBED else "NCHW") for o in lowered.outputs)


def test_bytes_in(tmp_path: Path) -> None:
    module, preprocess = network(), PreprocessSpec(size=64)
    lowered = lower(canonical(module, preprocess=preprocess), OnnxOptions())
    assert lowered.inputs == (TensorSpec(name="image", shape=(1, 3, 64, 64), dtype="uint8", layout="NCHW"),)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    expected = reference(module, (pixels / np.float32(255) - mean) / std)
    # The difference of large sums: 255 times the weights, against the mean.
    assert worst(run(lowered, pixels, tmp_path, open_session), expected) < 10 * FP32_CLOSE
    half = lower(canonical(module, preprocess=preprocess), FP16)
    assert worst(run(half, pixels, tmp_path, open_session), expected) < FP16_CLOSE


def test_femto_at_its_real_size(tmp_path: Path) -> None:
    """Where the maps are large, GRN's factor goes on the weights; where the weights are, on the activations."""
    arch = ArchSpec(name="convnextv2_femto", depths=(2, 2, 6, 2), dims=(48, 96, 192, 384))
    module, x = initialize(ConvNeXt(arch, 1000), 0), probe(1, 224)
    lowered = lower(canonical(module, size=224), OnnxOptions())
    assert worst(run(lowered, x, tmp_path, open_session), reference(module, x)) < FP32_CLOSE
    assert lowered.passes == ("pixels-as-rows", "grn-on-weights")
    scaled = [
        node.name.split(".mlp")[0] for node in model_of(lowered).graph.node if node.name.endswith("weight.scaled")
    ]
    assert scaled == [f"stages.{i}.blocks.{j}" for i in (0, 1) for j in (0, 1)]


def test_a_broken_file_is_told_apart(tmp_path: Path) -> None:
    """The comparison above has teeth: one weight of one GRN, doubled, is seen."""
    module, x = network(), probe()
    graph = canonical(module)
    for name, constant in graph.graph.initializers.items():
        if name == "stages.2.blocks.1.mlp.grn.gamma" and constant.const_value is not None:
            gamma = constant.const_value.numpy().copy()
            gamma[0, np.abs(gamma[0, :, 0, 0]).argmax()] *= 2
            constant.const_value = ir.tensor(gamma, name=name)
    broken = run(lower(graph, OnnxOptions()), x, tmp_path, open_session)
    assert worst(broken, reference(module, x)) > 100 * FP32_CLOSE


@pytest.mark.parametrize("options", [OnnxOptions(), FP16], ids=["fp32", "fp16"])
def test_standard_operations_only(options: OnnxOptions) -> None:
    for changes in NETWORKS.values():
        for folds in (None, ()):
            model = model_of(lower(canonical(network(**changes), folds=folds, batch=2), options))
            assert {(node.domain, node.op_type) for node in model.graph.node} <= {("", op) for op in OPS}
            # A GPU may round the factors of a product, and GRN's squares must keep their float32.
            assert options is not FP16 or not any(node.op_type == "MatMul" for node in model.graph.node)
            assert not model.functions
            assert [(o.domain, o.version) for o in model.opset_import] == [("", 20)]


def test_metadata_and_names_survive() -> None:
    metadata = {"edgecvx.model": "small", "edgecvx.labels": '["a", "ä"]'}
    graph = canonical(network(), metadata=metadata)
    model = model_of(lower(graph, OnnxOptions()))
    assert {p.key: p.value for p in model.metadata_props} == metadata
    values = {output for node in model.graph.node for output in node.output}
    canonical_values = {v.name for node in graph.graph for v in node.outputs}
    # The stem's norm takes its scale and bias with it; the head's rows are flat already.
    absorbed = {"stem.1.normalized", "stem.1.scaled", "head.flatten"}
    on_weights = {f"stages.{i}.blocks.0.mlp.grn" for i in (0, 1)}
    assert canonical_values - values == absorbed | on_weights
    assert set(graph.graph.initializers) <= {t.name for t in model.graph.initializer}


def test_taps_show_what_is_inside(tmp_path: Path) -> None:
    """A tap has its canonical name, layout and value, whatever form the file keeps it in."""
    graph, x = canonical(network()), probe()
    names = [str(node.outputs[0].name) for node in graph.graph if node.op_type != "Flatten"]
    inside = ReferenceEvaluator(ir.to_proto(with_outputs(graph, names))).run(None, {"image": x})
    graph = canonical(network())
    for options, limit in ((OnnxOptions(), FP32_CLOSE), (FP16, FP16_CLOSE)):
        tapped = lower(graph, OnnxOptions(precision=options.precision, taps=tuple(names)))
        actual = run(tapped, x, tmp_path, open_session)
        assert list(actual) == ["logits", *(name for name in names if name != "logits")]
        for name, expected in zip(names, inside, strict=True):
            assert_close(actual[name], expected, limit, why=name)
    with pytest.raises(UsageError, match="did you mean stages"):
        lower(graph, OnnxOptions(taps=("stages.0.blocks.0.mlp.fc3",)))


def with_outputs(graph: ir.Model, names: list[str]) -> ir.Model:
    values = {v.name: v for node in graph.graph for v in node.outputs}
    graph.graph.outputs[:] = [values[name] for name in names]
    return graph


def test_fp16_keeps_grn_statistics_in_float32() -> None:
    """Squares of activations around 3000 overflow float16; written naively, all of GRN in float16, the file fails."""
    module, x = overflowing(), probe()
    model = model_of(lower(canonical(module), FP16))
    assert relative_error(in_declared_types(model, x), reference(module, x)[0]) < FP16_CLOSE
    assert not np.isfinite(in_declared_types(all_half(model), x)).all()


@pytest.mark.parametrize("kind", ["zeros", "tiny", "huge"])
def test_fp16_survives_pictures_with_nothing_to_normalize(kind: str) -> None:
    """Divisions by a deviation and by a mean response that are zero, but for their epsilon."""
    module, x = network(), nearly_zero()[kind]
    model = model_of(lower(canonical(module), FP16))
    assert relative_error(in_declared_types(model, x), reference(module, x)[0]) < 2 * FP16_CLOSE


def all_half(model: onnx.ModelProto) -> onnx.ModelProto:
    """The same graph with everything but its input and output in float16."""
    model = onnx.ModelProto.FromString(model.SerializeToString())
    for tensor in model.graph.initializer:
        if tensor.data_type == onnx.TensorProto.FLOAT:
            tensor.CopyFrom(
                onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor).astype(np.float16), tensor.name)
            )
    for node in model.graph.node:
        if node.op_type == "Cast" and node.output[0] != "logits":
            node.attribute[0].i = onnx.TensorProto.FLOAT16
    return model


def test_fp16_refuses_a_weight_it_cannot_hold() -> None:
    module = network()
    with torch.no_grad():
        dict(module.named_parameters())["stages.1.blocks.0.mlp.fc1.weight"][3, 2] = 1e6
    lower(canonical(module), OnnxOptions())
    with pytest.raises(
        ExportError, match=r"'stages\.1\.blocks\.0\.mlp\.fc1\.weight' holds .*e\+0\d, and float16 ends at"
    ):
        lower(canonical(module), FP16)


def test_ops_are_listed_with_their_weight(tmp_path: Path) -> None:
    lowered = lower(canonical(network(), size=64), OnnxOptions())
    ops = read_ops(written(lowered, tmp_path))
    # Two matrix products in each block of many pixels, and the classifier; below, they stay convolutions.
    assert Counter(op.op for op in ops)["Gemm"] == 2 * 2 + 1
    stem = next(op for op in ops if op.name == "stem.0")
    assert (stem.op, stem.dtype, stem.shape) == ("Conv", "float32", (1, 8, 16, 16))
    assert (stem.macs, stem.const_bytes) == (16 * 16 * 8 * 4 * 4 * 3, 4 * (8 * 3 * 4 * 4 + 8))
    # All constants are counted once; the rest of the file is its structure.
    assert 0.7 * len(lowered.files[".onnx"]) < sum(op.const_bytes for op in ops) < len(lowered.files[".onnx"])


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"no model at all", b"\x08\x0a\x12"])
def test_what_is_no_model_has_no_ops(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.onnx").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bad\.onnx is not an ONNX model"):
        read_ops(tmp_path / "bad.onnx")
