"""TFLite files: each computes what the network computes, in XNNPACK as one partition, and in the plain kernels."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from support import assert_close, network, probe, relative_error

pytest.importorskip("ai_edge_litert")

from ai_edge_litert.interpreter import Interpreter
from opening import open_tflite as open_session

from edgecvx.errors import ExportError, UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.tflite.lower import TFLiteOptions, lower
from edgecvx.export.tflite.schema import METADATA, read_file
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.models.convnext import ConvNeXt, outputs_of
from edgecvx.spec import InputKind, Precision, PreprocessSpec, Task

FP32, FP16 = Precision.FP32, Precision.FP16
FP32_TOLERANCE = 1e-5
FP32_WHY = "the same products in float32, summed in another order; 9e-7 seen"
FP16_TOLERANCE = 1e-2
FP16_WHY = "the product's promise; only weights are rounded, to 11 bits: 6e-4 seen"


def lowered(
    module: ConvNeXt,
    *,
    task: Task = Task.CLASSIFY,
    folds: Sequence[str] | None = None,
    size: int = 64,
    batch: int = 1,
    metadata: dict[str, str] | None = None,
    **options: Any,
) -> Lowered:
    graph = build_canonical(
        fold(module, folds, task=task).module, task=task, image_size=size, batch=batch, metadata=metadata
    )
    return lower(graph, TFLiteOptions(**options))


def save(file: Lowered, folder: Path) -> Path:
    path = folder / "model.tflite"
    path.write_bytes(file.files[".tflite"])
    return path


def run(file: Lowered, x: NDArray[Any], folder: Path, delegate: str = "xnnpack") -> list[NDArray[Any]]:
    """The outputs for an NCHW batch, maps turned back to NCHW, in the order the lowering announced."""
    session = open_session(save(file, folder), threads=1, options={"delegate": delegate})
    assert session.inputs == file.inputs
    assert session.outputs == file.outputs
    result = session.run(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))
    session.close()
    return [result[s.name].transpose(0, 3, 1, 2) if s.layout == "NHWC" else result[s.name] for s in file.outputs]


def reference(module: ConvNeXt, x: NDArray[Any], task: Task = Task.CLASSIFY) -> list[NDArray[Any]]:
    with torch.no_grad():
        return [y.numpy() for y in outputs_of(module, torch.from_numpy(x), task.value)]


def delegated_whole(path: Path) -> bool:
    """Whether XNNPACK took the graph from the input to the outputs as one partition."""
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    partitions = [op for op in interpreter._get_ops_details() if op["op_name"] == "DELEGATE"]
    ends = [
        {d["index"] for d in details()} for details in (interpreter.get_input_details, interpreter.get_output_details)
    ]
    return len(partitions) == 1 and ends[0] <= set(partitions[0]["inputs"]) and ends[1] == set(partitions[0]["outputs"])


CASES: dict[str, tuple[dict[str, Any], Sequence[str] | None, Task, int]] = {
    "v2": ({}, None, Task.CLASSIFY, 1),
    "v2 as trained": ({}, (), Task.CLASSIFY, 1),
    "v1": ({"grn": False}, None, Task.CLASSIFY, 1),
    "v1 as trained": ({"grn": False}, (), Task.CLASSIFY, 1),
    "padded stem": ({"grn": False, "stem": "overlap"}, None, Task.CLASSIFY, 1),
    "tanh gelu": ({"act": "gelu_tanh"}, None, Task.CLASSIFY, 1),
    "silu": ({"act": "silu"}, None, Task.CLASSIFY, 1),
    "all kernel sizes": ({"kernel_sizes": (3, 5, 7, 9)}, None, Task.CLASSIFY, 1),
    "batch": ({}, None, Task.CLASSIFY, 2),
    "features": ({}, None, Task.FEATURES, 1),
    "features of a batch as trained": ({}, (), Task.FEATURES, 2),
    "embedding": ({}, None, Task.EMBED, 1),
    "embedding of a batch as trained": ({}, (), Task.EMBED, 2),
}


@pytest.mark.parametrize("precision", [FP32, FP16])
@pytest.mark.parametrize("case", CASES)
def test_file_computes_what_the_network_computes(case: str, precision: Precision, tmp_path: Path) -> None:
    changes, folds, task, batch = CASES[case]
    module, x = network(**changes), probe(batch)
    file = lowered(module, task=task, folds=folds, batch=batch, precision=precision)
    tolerance, why = (FP32_TOLERANCE, FP32_WHY) if precision is FP32 else (FP16_TOLERANCE, FP16_WHY)
    for delegate in ("xnnpack", "none"):
        outputs = run(file, x, tmp_path, delegate)
        for y, expected in zip(outputs, reference(module, x, task), strict=True):
            assert_close(y, expected, tolerance, why=f"{delegate}: {why}")
    ops = Counter(op.name for op in read_file(tmp_path / "model.tflite").ops)
    assert not set(ops) & {"TRANSPOSE", "CAST", "CUSTOM"}
    assert delegated_whole(tmp_path / "model.tflite")


@pytest.mark.parametrize("size", [32, 96])
def test_other_image_sizes(size: int, tmp_path: Path) -> None:
    """At 32 pixels the last maps are one pixel, smaller than every kernel."""
    module, x = network(), probe(size=size)
    (logits,) = run(lowered(module, size=size), x, tmp_path)
    assert_close(logits, reference(module, x)[0], FP32_TOLERANCE, why=FP32_WHY)


def test_a_broken_file_would_be_noticed(tmp_path: Path) -> None:
    """The comparison above rejects the file of another network, and one whose GRN is off."""
    x, expected = probe(), reference(network(), probe())[0]
    assert relative_error(run(lowered(network(seed=1)), x, tmp_path)[0], expected) > 0.1
    module = network()
    for name, parameter in module.named_parameters():
        if name.endswith("grn.weight"):
            parameter.data.zero_()
    assert relative_error(run(lowered(module), x, tmp_path)[0], expected) > 1e-2


def test_the_split_depthwise_is_an_option(tmp_path: Path) -> None:
    module, x = network(), probe()
    split, whole = lowered(module), lowered(module, split_depthwise=False)
    assert split.passes == ("depthwise-split",)
    assert whole.passes == ()
    assert_close(run(split, x, tmp_path)[0], run(whole, x, tmp_path)[0], FP32_TOLERANCE, why=FP32_WHY)
    kernels = [
        op.inputs[1].shape[1:3] for op in read_file(tmp_path / "model.tflite").ops if op.name == "DEPTHWISE_CONV_2D"
    ]
    assert kernels == [(7, 7)] * 5


def test_bytes_go_in_without_preprocessing(tmp_path: Path) -> None:
    """A uint8 input is the picture: scale 1 and zero point 0 say that a byte means itself."""
    preprocess = PreprocessSpec(size=64)
    module = network()
    graph = build_canonical(
        fold(fold_uint8_input(module, preprocess)).module, image_size=64, input_kind=InputKind.UINT8
    )
    file = lower(graph, TFLiteOptions())
    picture = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), dtype=np.uint8)
    mean, std = (np.asarray(v, np.float32).reshape(3, 1, 1) for v in (preprocess.mean, preprocess.std))
    expected = reference(module, ((picture / np.float32(255) - mean) / std).astype(np.float32))[0]
    for delegate in ("xnnpack", "none"):
        assert_close(run(file, picture, tmp_path, delegate)[0], expected, FP32_TOLERANCE, why=FP32_WHY)
    path = tmp_path / "model.tflite"
    assert file.inputs[0].dtype == "uint8"
    assert read_file(path).ops[0].name == "DEQUANTIZE"
    assert delegated_whole(path)
    assert Interpreter(model_path=str(path)).get_input_details()[0]["quantization"] == (1.0, 0)


def test_float16_halves_the_file_and_says_what_it_keeps() -> None:
    module = network(dims=(32, 64, 96, 128))
    single, half = (lowered(module, precision=p) for p in (FP32, FP16))
    assert len(half.files[".tflite"]) < 0.65 * len(single.files[".tflite"])  # the rest is names and graph
    assert set(half.passes) == {"depthwise-split", "float16-weights"}
    assert half.kept_float
    assert not single.kept_float


@pytest.mark.parametrize(
    ("scale", "message"), [(1e6, r"'stages.0.blocks.0.mlp.fc1.weight' holds .* ends at 65504"), (1e-9, "too small")]
)
def test_weights_that_float16_cannot_hold_are_refused(scale: float, message: str) -> None:
    module = network()
    module.get_parameter("stages.0.blocks.0.mlp.fc1.weight").data.mul_(scale)
    with pytest.raises(ExportError, match=message):
        lowered(module, folds=(), precision=FP16)
    assert lowered(module, folds=(), precision=FP32).files


def test_a_network_whose_grn_would_overflow_float16(tmp_path: Path) -> None:
    """Sums of squares over 65504: no matter here, where only weights are float16."""
    module, x = network(), probe()
    module.get_parameter("stages.0.blocks.0.mlp.fc1.weight").data.mul_(200.0)
    for delegate in ("xnnpack", "none"):
        (logits,) = run(lowered(module, precision=FP16), x, tmp_path, delegate)
        assert_close(logits, reference(module, x)[0], FP16_TOLERANCE, why=FP16_WHY)


@pytest.mark.parametrize("value", [0.0, 1e-12])
def test_pictures_without_content_give_numbers(value: float, tmp_path: Path) -> None:
    """Nothing divides by a zero response or deviation."""
    module, x = network(), np.full((1, 3, 64, 64), value, dtype=np.float32)
    for delegate in ("xnnpack", "none"):
        (logits,) = run(lowered(module), x, tmp_path, delegate)
        assert_close(logits, reference(module, x)[0], 1e-4, why="a flat map has no deviation: rounding is amplified")


def test_taps_come_after_the_outputs(tmp_path: Path) -> None:
    """Any canonical value can be looked at, under its own name, with nothing else changed."""
    module, x = network(), probe()
    names = ("stages.0.blocks.0.conv_dw", "head.norm", "logits")
    file = lowered(module, taps=names)
    assert [s.name for s in file.outputs] == ["logits", "stages.0.blocks.0.conv_dw", "head.norm"]
    logits, depthwise, _ = run(file, x, tmp_path)
    assert_close(logits, reference(module, x)[0], FP32_TOLERANCE, why=FP32_WHY)
    with torch.no_grad():
        stem = module.stem(torch.from_numpy(x))
        expected = module.get_submodule("stages.0.blocks.0.conv_dw")(stem)
    assert_close(depthwise, expected, FP32_TOLERANCE, why=FP32_WHY)
    with pytest.raises(UsageError, match="unknown tap 'logit': did you mean logits"):
        lowered(module, taps=("logit",))


def test_same_input_same_bytes() -> None:
    files = [lowered(network(), metadata={"b": "2", "a": "1"}).files[".tflite"] for _ in range(2)]
    assert files[0] == files[1]


def test_names_signature_and_metadata(tmp_path: Path) -> None:
    """A tensor is found again by its canonical name; the file says what it is and how to feed it."""
    props = {"edgecvx.model": "convnextv2_small.demo", "edgecvx.labels": json.dumps(["Möwe", "猫"], ensure_ascii=False)}
    path = save(lowered(network(2), metadata=props), tmp_path)
    computed = {t.name for op in read_file(path).ops for t in op.outputs}
    assert {"stem.0", "stages.2.blocks.1.mlp.grn", "stages.3.downsample.1", "head.global_pool", "logits"} <= computed
    assert json.loads(read_file(path).metadata[METADATA]) == props
    assert read_file(path).metadata["min_runtime_version"].rstrip(b"\0") == b"2.9.0"
    signatures = Interpreter(model_path=str(path)).get_signature_list()
    assert signatures == {"serving_default": {"inputs": ["image"], "outputs": ["logits"]}}


def test_operator_versions_are_the_lowest_that_serve(tmp_path: Path) -> None:
    """Version 2 of a depthwise knows dilation, version 3 of DEQUANTIZE float16; an older one would ignore them."""
    versions = {(op.name, op.version) for op in read_file(save(lowered(network(), precision=FP16), tmp_path)).ops}
    assert {v for v in versions if v[1] > 1} == {("DEPTHWISE_CONV_2D", 2), ("DEQUANTIZE", 3)}


def test_a_node_that_is_not_canonical_is_refused() -> None:
    graph = build_canonical(fold(network()).module, image_size=32)
    next(node for node in graph.graph if node.op_type == "Gelu").op_type = "Erf"
    with pytest.raises(ExportError, match=r"Erf is not an op of the canonical graph"):
        lower(graph, TFLiteOptions())


def test_femto_is_close_in_every_interpreter(tmp_path: Path) -> None:
    """A real variant, in LiteRT and in TensorFlow's own interpreter."""
    pytest.importorskip("tensorflow")
    module = network(1000, depths=(2, 2, 6, 2), dims=(48, 96, 192, 384))
    x = probe(size=224)
    expected = reference(module, x)[0]
    path = save(lowered(module, size=224), tmp_path)
    assert delegated_whole(path)
    for interpreter in ("ai_edge_litert", "tensorflow"):
        session = open_session(path, threads=1, options={"interpreter": interpreter})
        logits = session.run(np.ascontiguousarray(x.transpose(0, 2, 3, 1)))["logits"]
        assert_close(logits, expected, FP32_TOLERANCE, why=FP32_WHY)
