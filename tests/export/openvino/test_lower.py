"""The OpenVINO lowering: the same function as PyTorch, built from OpenVINO's own operations."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx_ir as ir
import pytest
import torch
from lowerings import (
    FP16_CLOSE,
    FP32_CLOSE,
    NETWORKS,
    canonical,
    nearly_zero,
    overflowing,
    reference,
    run,
    worst,
    written,
)
from onnx.reference import ReferenceEvaluator
from support import assert_close, network, probe

pytest.importorskip("openvino")

from opening import open_openvino as open_session

from edgecvx.errors import ArtifactError, ExportError
from edgecvx.export.base import Options
from edgecvx.export.openvino.lower import lower
from edgecvx.export.openvino.reader import read_ops
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.spec import ArchSpec, Precision, PreprocessSpec, Task, TensorSpec

FP16 = Options(precision=Precision.FP16)
OPS = {"Add", "Convert", "Convolution", "Divide", "Gelu", "GroupConvolution", "MVN", "MatMul", "Multiply"}
OPS |= {"ReduceL2", "ReduceMean", "Reshape", "Sigmoid"}
"""As in docs/openvino.md."""


@pytest.mark.parametrize("folds", [None, ()], ids=["folded", "unfolded"])
@pytest.mark.parametrize("name", NETWORKS)
def test_a_file_computes_what_pytorch_computes(name: str, folds: Any, tmp_path: Path) -> None:
    module, x = network(**NETWORKS[name]), probe(2)
    graph = canonical(module, batch=2, folds=folds)
    assert worst(run(lower(graph, Options()), x, tmp_path, open_session), reference(module, x)) < FP32_CLOSE
    assert worst(run(lower(graph, FP16), x, tmp_path, open_session), reference(module, x)) < FP16_CLOSE


@pytest.mark.parametrize("task", [Task.FEATURES, Task.EMBED])
def test_the_other_tasks_return_maps_and_vectors(task: Task, tmp_path: Path) -> None:
    module, x = network(), probe()
    lowered = lower(canonical(module, task=task), Options())
    assert worst(run(lowered, x, tmp_path, open_session), reference(module, x, task)) < FP32_CLOSE


def test_bytes_in(tmp_path: Path) -> None:
    module, preprocess = network(), PreprocessSpec(size=64)
    lowered = lower(canonical(module, preprocess=preprocess), Options())
    assert lowered.inputs == (TensorSpec(name="image", shape=(1, 3, 64, 64), dtype="uint8", layout="NCHW"),)
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    mean, std = (np.array(v, np.float32).reshape(1, 3, 1, 1) for v in (preprocess.mean, preprocess.std))
    expected = reference(module, (pixels / np.float32(255) - mean) / std)
    # The difference of large sums: 255 times the weights, against the mean.
    assert worst(run(lowered, pixels, tmp_path, open_session), expected) < 10 * FP32_CLOSE


def test_femto_at_its_real_size(tmp_path: Path) -> None:
    arch = ArchSpec(name="convnextv2_femto", depths=(2, 2, 6, 2), dims=(48, 96, 192, 384))
    module, x = initialize(ConvNeXt(arch, 1000), 0), probe(1, 224)
    lowered = lower(canonical(module, size=224), Options())
    assert worst(run(lowered, x, tmp_path, open_session), reference(module, x)) < FP32_CLOSE


def test_a_broken_file_is_told_apart(tmp_path: Path) -> None:
    """The comparison above has teeth: a slightly wrong epsilon in one norm is seen."""
    module, x = network(), probe()
    graph = canonical(module)
    norm = next(node for node in graph.graph if node.name == "stages.1.blocks.0.norm")
    norm.attributes["epsilon"] = ir.AttrFloat32("epsilon", 1e-2)
    broken = run(lower(graph, Options()), x, tmp_path, open_session)
    assert worst(broken, reference(module, x)) > 10 * FP32_CLOSE


def test_known_operations_only(tmp_path: Path) -> None:
    for changes in NETWORKS.values():
        for folds in (None, ()):
            lowered = lower(canonical(network(**changes), folds=folds), FP16)
            assert {op.op for op in read_ops(written(lowered, tmp_path))} <= OPS


def test_the_file_says_what_it_is(tmp_path: Path) -> None:
    """Ours under ``edgecvx``, and what OpenVINO's Model API reads under ``model_info``."""
    preprocess = json.dumps({"mean": [0.5, 0.25, 0.0], "std": [1.0, 0.5, 0.25]})
    metadata = {
        "edgecvx.task": "classify",
        "edgecvx.labels": '["tabby cat", "Bücher"]',
        "edgecvx.preprocess": preprocess,
    }
    graph = canonical(network(num_classes=2), metadata=metadata)
    net = ElementTree.fromstring(lower(graph, Options()).files[".xml"])
    told = {f"{group.tag}.{entry.tag}": entry.attrib["value"] for group in net.iterfind("rt_info/") for entry in group}
    assert {key: told[key] for key in metadata} == metadata
    assert told["model_info.labels"] == "tabby_cat Bücher"
    assert told["model_info.mean_values"] == "127.5 63.75 0"
    assert told["model_info.scale_values"] == "255 127.5 63.75"
    names = {layer.attrib["name"] for layer in net.iterfind("layers/layer")}
    assert {str(node.outputs[0].name) for node in graph.graph} <= names


def test_taps_show_what_is_inside(tmp_path: Path) -> None:
    graph, x = canonical(network()), probe()
    values = {str(v.name): v for node in graph.graph for v in node.outputs}
    tapped = lower(graph, Options(taps=tuple(values)))
    actual = run(tapped, x, tmp_path, open_session)
    graph.graph.outputs[:] = values.values()
    inside = ReferenceEvaluator(ir.to_proto(graph)).run(None, {"image": x})
    for name, expected in zip(values, inside, strict=True):
        assert_close(actual[name], expected, FP32_CLOSE, why=name)


def test_fp16_halves_the_weights(tmp_path: Path) -> None:
    graph = canonical(network())
    full, half = (lower(graph, options) for options in (Options(), FP16))
    assert len(half.files[".bin"]) < 0.6 * len(full.files[".bin"])
    assert half.kept_float and not full.kept_float
    assert half.inputs == full.inputs and half.outputs == full.outputs


@pytest.mark.parametrize("kind", ["zeros", "tiny", "huge"])
def test_fp16_survives_pictures_with_nothing_to_normalize(kind: str, tmp_path: Path) -> None:
    module, x = network(), nearly_zero()[kind]
    actual = run(lower(canonical(module), FP16), x, tmp_path, open_session)
    assert worst(actual, reference(module, x)) < 2 * FP16_CLOSE


def test_fp16_survives_a_grn_whose_squares_overflow(tmp_path: Path) -> None:
    """On a CPU this only shows that no constant was lost; that the squares stay inside one kernel, the ops show."""
    module, x = overflowing(), probe()
    lowered = lower(canonical(module), FP16)
    assert worst(run(lowered, x, tmp_path, open_session), reference(module, x)) < FP16_CLOSE
    counts = Counter(op.op for op in read_ops(written(lowered, tmp_path)))
    assert counts["ReduceL2"] == 5
    # No product of activations with themselves: one Multiply for gamma, one for the factor, and the stem norm's scale.
    assert counts["Multiply"] == 2 * 5 + 1


def test_fp16_refuses_a_weight_it_cannot_hold() -> None:
    module = network()
    with torch.no_grad():
        dict(module.named_parameters())["stages.1.blocks.0.mlp.fc1.weight"][3, 2] = 1e6
    with pytest.raises(ExportError, match=r"'stages\.1\.blocks\.0\.mlp\.fc1\.weight' holds .*, and float16 ends at"):
        lower(canonical(module), FP16)


def test_ops_are_listed_with_their_weight(tmp_path: Path) -> None:
    for options, width in ((Options(), 4), (FP16, 2)):
        lowered = lower(canonical(network(), size=64), options)
        ops = read_ops(written(lowered, tmp_path))
        stem = next(op for op in ops if op.name == "stem.0/conv")
        assert (stem.op, stem.dtype, stem.shape) == ("Convolution", "float32", (1, 8, 16, 16))
        assert (stem.macs, stem.const_bytes) == (16 * 16 * 8 * 4 * 4 * 3, width * 8 * 3 * 4 * 4)
        depthwise = next(op for op in ops if op.op == "GroupConvolution")
        assert depthwise.macs == 16 * 16 * 8 * 7 * 7
        assert sum(op.const_bytes for op in ops) == pytest.approx(len(lowered.files[".bin"]), rel=0.1)


@pytest.mark.parametrize("content", [b"", b"<net>", b"<net><layers><layer/></layers></net>", b"\xff\xfe no xml"])
def test_what_is_no_ir_has_no_ops(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.xml").write_bytes(content)
    with pytest.raises(ArtifactError, match=r"bad\.xml is not an OpenVINO IR"):
        read_ops(tmp_path / "bad.xml")
