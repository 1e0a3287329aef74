"""The lowering for TensorRT: the same function as PyTorch, and every precision written into the graph."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
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
from support import assert_close, network, probe, relative_error

pytest.importorskip("onnxruntime")

from opening import open_onnxruntime as open_session
from quantized import images_of, quantized, run_onnx

from edgecvx.errors import ExportError, UsageError
from edgecvx.export.base import Lowered, Options
from edgecvx.export.onnx.reader import read_ops
from edgecvx.export.tensorrt.format import INT8 as SCHEME
from edgecvx.export.tensorrt.lower import IR_VERSION, OPSET, SUFFIX, lower
from edgecvx.graph.scheme import Scheme
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.spec import ArchSpec, Precision, PreprocessSpec, Task, TensorSpec

FP32, FP16, INT8 = (Options(precision=p) for p in (Precision.FP32, Precision.FP16, Precision.INT8))


def model_of(lowered: Lowered) -> onnx.ModelProto:
    return onnx.load_from_string(lowered.files[SUFFIX])


KINDS = [*((name, Task.CLASSIFY) for name in NETWORKS), ("v2", Task.FEATURES), ("v2", Task.EMBED)]


@pytest.mark.parametrize("folds", [None, ()], ids=["folded", "unfolded"])
@pytest.mark.parametrize(("name", "task"), KINDS)
def test_a_file_computes_what_pytorch_computes(name: str, task: Task, folds: Any, tmp_path: Path) -> None:
    module, x = network(**NETWORKS[name]), probe(2)
    graph = canonical(module, task=task, batch=2, folds=folds)
    assert worst(run(lower(graph, FP32), x, tmp_path, open_session), reference(module, x, task)) < FP32_CLOSE
    assert worst(run(lower(graph, FP16), x, tmp_path, open_session), reference(module, x, task)) < FP16_CLOSE


@pytest.mark.parametrize(("name", "task"), KINDS)
def test_an_int8_file_computes_what_the_quantized_graph_says(name: str, task: Task) -> None:
    """Step by step in float, so that nothing differs but the order of sums."""
    graph = quantized(canonical(network(**NETWORKS[name]), task=task), SCHEME)
    (x,) = images_of(graph, 1, seed=5)
    file = ir.from_proto(model_of(lower(graph, INT8)))
    expected, actual = run_onnx(graph, x), run_onnx(file, x)
    assert list(actual) == list(expected)
    for output, array in expected.items():
        # A number halfway between two steps may be rounded either way; five blocks carry a few of those on.
        assert_close(actual[output], array, 0.03, why="one step of INT8 in a few places")


def test_bytes_in(tmp_path: Path) -> None:
    """The stem is float in INT8, so that a picture's bytes, whose grid has a zero point, need none."""
    module, preprocess = network(), PreprocessSpec(size=64)
    graph = canonical(module, preprocess=preprocess)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    expected = reference(module, (pixels / np.float32(255) - mean) / std)
    # The difference of large sums: 255 times the weights, against the mean.
    assert worst(run(lower(graph, FP32), pixels, tmp_path, open_session), expected) < 10 * FP32_CLOSE
    assert worst(run(lower(graph, FP16), pixels, tmp_path, open_session), expected) < FP16_CLOSE
    lowered = lower(quantized(graph, SCHEME), INT8)
    assert lowered.inputs == (TensorSpec(name="image", shape=(1, 3, 64, 64), dtype="uint8", layout="NCHW"),)
    assert worst(run(lowered, pixels, tmp_path, open_session), expected) < 0.15  # 8 bits, uncalibrated grids


def test_fp16_where_grn_would_overflow(tmp_path: Path) -> None:
    """Squares of these activations pass 65504; each operation is computed in the type the file declares."""
    module, x = overflowing(), probe()
    model = model_of(lower(canonical(module), FP16))
    assert relative_error(in_declared_types(model, x), reference(module, x)[0]) < 2 * FP16_CLOSE


def test_fp16_statistics_in_fp16_would_be_nan() -> None:
    """The test above has teeth: without the casts around GRN the same network returns no numbers."""
    model = model_of(lower(canonical(overflowing()), FP16))
    for node in model.graph.node:
        if node.op_type == "Cast" and ".grn" in node.name:
            node.attribute[0].i = onnx.TensorProto.FLOAT16
    for constant in model.graph.initializer:
        if ".grn" in constant.name and constant.data_type == onnx.TensorProto.FLOAT:
            half = onnx.numpy_helper.to_array(constant).astype(np.float16)
            constant.CopyFrom(onnx.numpy_helper.from_array(half, constant.name))
    assert not np.isfinite(in_declared_types(model, probe())).all()


@pytest.mark.parametrize("picture", nearly_zero())
def test_fp16_of_pictures_that_leave_nothing_to_normalize(picture: str) -> None:
    model = model_of(lower(canonical(network()), FP16))
    assert np.isfinite(in_declared_types(model, nearly_zero()[picture])).all()


def test_what_every_jetpack_6_reads() -> None:
    """Opset 17, the last one of TensorRT 8.6; GELU, which came with opset 20, is written out."""
    for changes in ({}, NETWORKS["v1 overlapping stem, tanh GELU"]):
        model = model_of(lower(canonical(network(**changes)), FP32))
        assert [(o.domain, o.version) for o in model.opset_import] == [("", OPSET)] == [("", 17)]
        assert model.ir_version == IR_VERSION
        assert "Gelu" not in {node.op_type for node in model.graph.node}


def test_q_and_dq_stand_where_fusions_want_them() -> None:
    """Depthwise: INT8 in, INT8 out, up to the norm. fc1: none between it and its GELU, which is one kernel with it."""
    model = model_of(lower(quantized(canonical(network()), SCHEME), INT8))
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    block = "stages.2.blocks.1"
    (after,) = readers[f"{block}.conv_dw"]
    assert after.op_type == "QuantizeLinear"
    (dequantize,) = readers[after.output[0]]
    assert [n.op_type for n in readers[dequantize.output[0]]] == ["Transpose"]
    assert "QuantizeLinear" not in {n.op_type for n in readers[f"{block}.mlp.fc1"]}
    assert [n.op_type for n in readers[f"{block}.mlp.fc2"]] == ["Add"]
    assert not [n for n in readers["image"] if n.op_type == "QuantizeLinear"]


def test_weights_are_stored_as_integers() -> None:
    graph = canonical(network())
    whole, small = lower(graph, FP32), lower(quantized(graph, SCHEME), INT8)
    model = model_of(small)
    kinds = {c.name: c.data_type for c in model.graph.initializer if len(c.dims) == 4 and c.dims[0] > 1}
    assert {name for name, kind in kinds.items() if kind != onnx.TensorProto.INT8} == {"stem.0.weight"}
    assert len(small.files[SUFFIX]) < len(whole.files[SUFFIX])


def test_nearly_all_of_atto_is_int8(tmp_path: Path) -> None:
    arch = ArchSpec(name="convnextv2_atto", depths=(2, 2, 6, 2), dims=(40, 80, 160, 320))
    graph = canonical(initialize(ConvNeXt(arch, 1000), 0))
    ops = read_ops(written(lower(quantized(graph, SCHEME), INT8), tmp_path))
    assert sum(op.macs for op in ops if op.bits) / sum(op.macs for op in ops) > 0.95


def test_taps_show_what_is_inside(tmp_path: Path) -> None:
    taps = ("stages.1.blocks.0.mlp.act", "stages.1.blocks.0.norm")
    for precision, limit in ((Precision.FP32, 1e-5), (Precision.FP16, FP16_CLOSE)):
        graph = canonical(network())
        lowered = lower(graph, Options(precision=precision, taps=taps))
        x = probe()
        shown, expected = run(lowered, x, tmp_path, open_session), run_onnx(graph, x, taps)
        assert list(shown) == ["logits", *taps]
        assert all(relative_error(shown[name], expected[name]) < limit for name in shown)


def test_what_cannot_be_written_is_refused() -> None:
    graph = canonical(network())
    with pytest.raises(ExportError, match="in int8 was asked for, but the graph has no int8"):
        lower(graph, INT8)
    with pytest.raises(ExportError, match="in fp32 was asked for, but the graph has int8"):
        lower(quantized(graph, SCHEME), FP32)
    with pytest.raises(UsageError, match="unknown value"):
        lower(graph, Options(taps=("stages.9",)))
    with pytest.raises(UsageError, match="no float"):
        lower(
            quantized(graph, SCHEME),
            Options(precision=Precision.INT8, taps=("stages.0.blocks.0.mlp.fc1.input.int8",)),
        )


def test_a_scheme_of_another_target_is_refused_by_rule() -> None:
    """Zero points as the range asks: what ONNX Runtime takes and TensorRT does not."""
    with pytest.raises(ExportError, match=r"breaks? a rule of TensorRT's: symmetric: .*zero point"):
        lower(quantized(canonical(network()), Scheme(inputs=SCHEME.inputs, outputs=SCHEME.outputs)), INT8)


def test_the_same_graph_gives_the_same_bytes() -> None:
    graph = quantized(canonical(network()), SCHEME)
    assert lower(graph, INT8).files == lower(graph, INT8).files
