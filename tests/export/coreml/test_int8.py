"""Core ML in INT8: the saved package computes the quantized graph, says so truthfully, and is small."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lowerings
import numpy as np
import onnx_ir as ir
import pytest
import torch
from mlpackages import save
from numpy.typing import NDArray
from quantized import images_of, quantized, run_onnx
from support import assert_close, network, relative_error

if importlib.util.find_spec("coremltools") is None:  # importing it here would load what the product keeps away
    pytest.skip("coremltools is not installed", allow_module_level=True)

from edgecvx.errors import ExportError, RuntimeFailedError, UsageError
from edgecvx.export.base import Lowered
from edgecvx.export.coreml.expose import expose, inner_tensors
from edgecvx.export.coreml.importing import import_coremltools, quiet
from edgecvx.export.coreml.int8 import half_scales
from edgecvx.export.coreml.lower import lower
from edgecvx.export.coreml.options import CoreMLOptions, check_request
from edgecvx.export.coreml.program import load_protos, read_package
from edgecvx.export.coreml.writer import Identifiers
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold
from edgecvx.graph.qdq import weight_of
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.runtimes.mil.executor import ReferenceSession, read_ops
from edgecvx.spec import InputKind, Precision, PreprocessSpec, Task
from edgecvx.targets import get_target

INT8 = Precision.INT8
SCHEME = get_target("coreml").schemes[INT8]
EXACT = 1e-5
"""Sums in another order; 1e-7 seen."""
FLIPPED = 2e-2
"""Where a number lies so near the middle of two steps that the order of a sum decides; 2e-3 seen."""
LABELS = {"edgecvx.labels": json.dumps([f"class {i}" for i in range(10)])}


def canonical(
    *,
    task: Task = Task.CLASSIFY,
    batch: int = 1,
    folds: tuple[str, ...] | None = None,
    picture: bool = False,
    metadata: dict[str, str] | None = None,
    **changes: Any,
) -> ir.Model:
    """The canonical graph of the small network; with ``picture`` it takes bytes."""
    preprocess = PreprocessSpec(size=64) if picture else None
    module = network(**changes)
    return lowerings.canonical(module, task=task, batch=batch, folds=folds, preprocess=preprocess, metadata=metadata)


def written(graph: ir.Model, *, scheme: Scheme = SCHEME, **options: Any) -> tuple[Lowered, ir.Model]:
    """The package, and the quantized graph it was written from."""
    middle = quantized(graph, scheme)
    return lower(middle, CoreMLOptions(precision=INT8, **options)), middle


def run(package: Lowered, x: NDArray[Any], folder: Path) -> list[NDArray[Any]]:
    session = ReferenceSession(save(package, folder))
    assert (session.inputs, session.outputs) == (package.inputs, package.outputs)
    if package.inputs[0].layout == "NHWC":
        x = np.ascontiguousarray(x.transpose(0, 2, 3, 1))
    return session.run(x)


CASES: dict[str, tuple[Callable[[], ir.Model], Scheme]] = {
    "as the target wants it": (canonical, SCHEME),
    "only inputs": (canonical, Scheme(symmetric=True)),
    "zero points": (canonical, Scheme(outputs=SCHEME.outputs, activations=True)),
    "logits on a grid": (canonical, Scheme(outputs=frozenset(Role), symmetric=True)),
    "layers left float": (
        canonical,
        Scheme(inputs=frozenset(Role) - {Role.DEPTHWISE, Role.STEM, Role.FC1}),
    ),
    "only weights": (canonical, Scheme(dynamic=True)),
    "as trained": (lambda: canonical(folds=()), SCHEME),
    "silu, padded stem": (lambda: canonical(grn=False, act="silu", stem="overlap"), SCHEME),
    "features": (lambda: canonical(task=Task.FEATURES), SCHEME),
    "embedding of two": (lambda: canonical(task=Task.EMBED, batch=2), SCHEME),
    "picture": (lambda: canonical(picture=True), SCHEME),
    "picture, zero points": (lambda: canonical(picture=True), Scheme()),
}


@pytest.mark.parametrize("case", CASES)
def test_package_computes_the_quantized_graph(case: str, tmp_path: Path) -> None:
    """With FP32 between the integers, number by number: the same roundings, the same integers."""
    build, scheme = CASES[case]
    graph = build()
    package, middle = written(graph, scheme=scheme, int8_arithmetic="fp32")
    errors = []
    for number, x in enumerate(images_of(graph, 3, seed=7)):
        outputs = zip(run(package, x, tmp_path / str(number)), run_onnx(middle, x).values(), strict=True)
        errors.append(max(relative_error(actual, expected) for actual, expected in outputs))
    assert min(errors) < EXACT
    assert max(errors) < FLIPPED


def test_fp16_between_the_integers_adds_less_than_int8_itself(tmp_path: Path) -> None:
    """As exported. A number near the middle of two steps falls to the other side, and the layers behind carry it on."""
    graph = canonical()
    package, middle = written(graph)
    off, own = [], []
    for number, x in enumerate(images_of(graph, 6, seed=3)):
        (actual,) = run(package, x, tmp_path / str(number))
        exact, plan = run_onnx(graph, x)["logits"], run_onnx(middle, x)["logits"]
        off.append(relative_error(actual, exact))
        own.append(relative_error(plan, exact))
    assert np.mean(off) < 1.5 * np.mean(own)  # 1.1 seen; a scale or a zero point that is off makes it 10 and more
    assert max(off) < 0.15


# What is wrong is seen.

MODEL, WEIGHTS = "Data/com.apple.CoreML/model.mlmodel", "Data/com.apple.CoreML/weights/weight.bin"
FC1 = "stages_2_blocks_0_mlp_fc1"


@pytest.fixture(scope="module")
def exact(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, NDArray[Any], NDArray[Any]]:
    """A package with FP32 arithmetic, an input, and what the quantized graph makes of it."""
    package, middle = written(canonical(), int8_arithmetic="fp32")
    (x,) = images_of(middle, 1, seed=7)
    return save(package, tmp_path_factory.mktemp("exact")), x, run_onnx(middle, x)["logits"]


def operation(spec: Any, kind: str, name: str) -> Any:
    function = spec.mlProgram.functions["main"]
    operations = function.block_specializations[function.opset].operations
    return next(op for op in operations if op.type == kind and op.outputs[0].name.startswith(name))


def changed(path: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    """A copy of a package with its program changed."""
    copy = folder / path.name
    shutil.copytree(path, copy)
    spec = load_protos().Model()
    spec.ParseFromString((copy / MODEL).read_bytes())
    change(spec)
    (copy / MODEL).write_bytes(spec.SerializeToString())
    return copy


def other_scale(spec: Any, kind: str) -> None:
    """Gives one operation the scale of another tensor."""
    mine, theirs = (operation(spec, kind, f"{name}_input").inputs["scale"] for name in (FC1, "logits"))
    mine.arguments[0].name = theirs.arguments[0].name


def other_weights(spec: Any) -> None:
    """Points a layer's weights to the scales' place in the weight file plus 64: other numbers of the right count."""
    data = operation(spec, "constexpr_affine_dequantize", FC1).attributes["quantized_data"].blobFileValue
    data.offset = (
        operation(spec, "constexpr_affine_dequantize", "stages_2_blocks_1_mlp_fc1")
        .attributes["quantized_data"]
        .blobFileValue.offset
    )


WRONG: dict[str, Callable[[Any], None]] = {
    "quantized by another scale": lambda spec: other_scale(spec, "quantize"),
    "dequantized by another scale": lambda spec: other_scale(spec, "dequantize"),
    "weights of another layer": other_weights,
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_package_is_noticed(case: str, exact: tuple[Path, NDArray[Any], NDArray[Any]], tmp_path: Path) -> None:
    """The comparison above can fail."""
    path, x, expected = exact
    broken = changed(path, tmp_path, WRONG[case])
    assert relative_error(ReferenceSession(broken).features(x)["logits"], expected) > 100 * EXACT
    assert relative_error(ReferenceSession(path).features(x)["logits"], expected) < EXACT


def set_type(op: Any, number: int) -> None:
    op.outputs[0].type.tensorType.dataType = number


def weights_of(spec: Any) -> Any:
    return operation(spec, "constexpr_affine_dequantize", FC1)


MALFORMED: dict[str, tuple[Callable[[Any], None], str]] = {
    "weights without data": (lambda s: weights_of(s).attributes.pop("quantized_data"), "quantized_data"),
    "weights without scales": (lambda s: weights_of(s).attributes.pop("scale"), "'scale'"),
    "axis beyond": (
        lambda s: weights_of(s).attributes["axis"].immediateValue.tensor.ints.values.__setitem__(0, 4),
        "no axis 4",
    ),
    "scales along another axis": (
        lambda s: weights_of(s).attributes["axis"].immediateValue.tensor.ints.values.__setitem__(0, 2),
        "scales do not go with axis 2",
    ),
    "integers said to be floats": (
        lambda s: set_type(operation(s, "quantize", FC1), 11),
        "gives int8, the program declares float32",
    ),
    "no scale": (lambda s: operation(s, "dequantize", FC1).inputs["scale"].Clear(), "cannot be computed"),
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_package_is_refused(
    case: str, exact: tuple[Path, NDArray[Any], NDArray[Any]], tmp_path: Path
) -> None:
    change, message = MALFORMED[case]
    broken = changed(exact[0], tmp_path, change)
    with pytest.raises(RuntimeFailedError, match=message) as caught:
        ReferenceSession(broken).run(exact[1])
    assert "model.mlpackage" in str(caught.value)


def test_a_value_that_is_no_number_stays_visible(tmp_path: Path) -> None:
    """No integer stands for NaN; a file that makes one fails instead of answering."""
    package, _ = written(canonical())
    with pytest.raises(RuntimeFailedError, match=r"quantize 'stem_0_input_int8'.*not a number"):
        run(package, np.full((1, 3, 64, 64), np.nan, np.float32), tmp_path)


# What the file says of itself.


def test_every_layer_is_listed_as_int8_and_everything_else_as_float(tmp_path: Path) -> None:
    graph = canonical(metadata=LABELS)
    package, _ = written(graph)
    ops = read_ops(save(package, tmp_path))
    layers = [op for op in ops if op.macs]
    assert len(layers) == sum(node.op_type in ("Conv", "Gemm") for node in graph.graph)
    assert all(op.bits for op in layers)
    assert {op.dtype for op in ops if op.op == "quantize"} == {"int8"}
    assert {op.dtype for op in ops[:-3]} - {"int8"} == {"float16"}  # behind them: the door, the softmax, the label
    stem = next(op for op in layers if op.name == "stem_0")
    assert stem.macs == 8 * 16 * 16 * 3 * 4 * 4
    assert 8 * 48 + 2 * 8 <= stem.const_bytes < 8 * 48 + 100  # a byte each, scales and biases two
    assert not any(op.op.startswith("constexpr") for op in ops)
    assert {"int8-weights", "int8-activations", "ios17"} <= set(package.passes)
    assert set(package.kept_float) == {
        *("LayerNorm2d", "Grn", "Gelu", "Add", "GlobalAveragePool", "probabilities"),
    }


def test_layers_left_float_are_told(tmp_path: Path) -> None:
    package, _ = written(canonical(), scheme=Scheme(inputs=frozenset(Role) - {Role.DEPTHWISE}))
    assert {name for name in package.kept_float if name.endswith("conv_dw")} == {
        f"stages.{stage}.blocks.{block}.conv_dw" for stage, block in ((0, 0), (1, 0), (2, 0), (2, 1), (3, 0))
    }
    depthwise = [op for op in read_ops(save(package, tmp_path)) if op.name.endswith("conv_dw")]
    assert depthwise
    assert not any(op.bits for op in depthwise)


def test_int8_weights_alone_multiply_no_integers(tmp_path: Path) -> None:
    package, _ = written(canonical(), scheme=Scheme(dynamic=True))
    layers = [op for op in read_ops(save(package, tmp_path)) if op.macs]
    assert layers
    assert not any(op.bits for op in layers)
    assert "int8-activations" not in package.passes


def test_every_layer_stands_between_two_pairs(tmp_path: Path) -> None:
    """The pattern Core ML Tools writes: quantize, dequantize, layer, quantize, dequantize; all zero points 0."""
    package, _ = written(canonical())
    ops = read_package(save(package, tmp_path)).ops
    made = {op.outputs[0][0]: op for op in ops}
    constants = {op.outputs[0][0]: op.value for op in ops if op.kind == "const"}
    readers: dict[str, list[str]] = {}
    for op in ops:
        for value in op.inputs.values():
            readers.setdefault(getattr(value, "name", ""), []).append(op.kind)
        if op.kind in ("quantize", "dequantize"):
            assert constants[op.inputs["zero_point"].name] == 0
        if op.kind in ("conv", "linear"):
            assert made[op.inputs["x"].name].kind == "dequantize"
            assert made[op.inputs["weight"].name].kind == "constexpr_affine_dequantize"
    layers = [op.outputs[0][0] for op in ops if op.kind == "conv"]
    assert all(readers[name] == ["quantize"] for name in layers)


def test_a_grid_met_again_is_not_left_and_entered(tmp_path: Path) -> None:
    """A depthwise convolution reads the very integers the downsampling before it wrote, where their grids are one."""
    package, _ = written(canonical())
    assert "requantize-elimination" in package.passes
    made = {op.outputs[0][0]: op for op in read_package(save(package, tmp_path)).ops}
    door = made["stages_1_blocks_0_conv_dw_input"]
    assert door.inputs["input"].name == "stages_1_downsample_1_int8"


def test_file_is_a_quarter(tmp_path: Path) -> None:
    """Of a network large enough that its program, 120 kB of operations, no longer counts."""
    graph = canonical(depths=(1, 1, 1, 1), dims=(32, 64, 192, 384))
    package, _ = written(graph)
    full = lower(graph, CoreMLOptions(precision=Precision.FP32))
    sizes = [sum(map(len, files.files.values())) for files in (package, full)]
    assert sizes[0] < 0.28 * sizes[1]


# Scales in FP16.


def test_scale_too_small_for_fp16_takes_its_weights_along(tmp_path: Path) -> None:
    """Float16's smallest numbers are 6e-8 apart. A channel whose scale lies between two of them is rounded anew."""
    module = network()
    with torch.no_grad():
        module.get_parameter("stages.1.blocks.0.mlp.fc1.weight")[:8].mul_(2e-5)
    graph = build_canonical(fold(module).module, image_size=64)
    package, middle = written(graph)
    session = ReferenceSession(save(package, tmp_path))
    name = "stages.1.blocks.0.mlp.fc1.weight"
    exact = next(n for n in middle.graph if n.outputs[0].name == f"{name}.dequantized")
    weight = weight_of(exact.outputs[0])
    assert weight is not None
    assert 0 < weight.scales.min() < 1e-6
    ours = session.constants[Identifiers().of(f"{name}.dequantized")]
    rounding = np.abs(ours - weight.dequantize()).reshape(len(weight.scales), -1).max(axis=1)
    assert (rounding <= 1.01 * (weight.scales + 2.0**-24) / 2).all()  # half a step of the scale that is written
    naive = weight.values * weight.scales.astype(np.float16).astype(np.float32).reshape(-1, 1, 1, 1)
    assert np.abs(naive - weight.dequantize())[:8].max() > 2 * rounding[:8].max()


def test_scales_of_fp16_never_cut_off() -> None:
    scales = np.array([2e-9, 1e-7, 1e-6, 1e-5, 1e-3, 1.0], np.float32)
    half = half_scales("scale", scales).astype(np.float64)
    assert (half > scales * (1 - 2.0**-9)).all()
    assert (half - scales <= np.maximum(2.0**-24, scales * 2.0**-11)).all()
    with pytest.raises(ExportError, match="beyond the largest float16"):
        half_scales("scale", np.array([7e4], np.float32))


# Pictures.


def test_bytes_meet_the_stem_exactly(tmp_path: Path) -> None:
    """128 is taken off them, which FP16 does exactly, so that all bytes are integers with the zero point 0."""
    package, middle = written(canonical(picture=True))
    assert "centre-bytes" in package.passes
    path = save(package, tmp_path)
    assert ReferenceSession(path).inputs[0].shape == (1, 64, 64, 3)
    for suffix, content in expose(path, ["stem_0_input", "stem_0"]).items():
        (tmp_path / f"model{suffix}").write_bytes(content)
    (bytes_in,) = images_of(middle, 1)
    values = ReferenceSession(path).features(np.ascontiguousarray(bytes_in.transpose(0, 2, 3, 1)))
    assert (values["stem_0_input"] == bytes_in.astype(np.float32) - 128).all()
    expected = run_onnx(middle, bytes_in, ["stem.0"])["stem.0"]
    assert_close(values["stem_0"], expected, 1e-3, why="scales and sums are rounded to FP16's 11 bits")


def test_what_core_ml_cannot_take_is_known_before_any_work() -> None:
    options = CoreMLOptions(precision=INT8)
    check_request(options, input_kind=InputKind.FLOAT, batch=8)
    check_request(options, input_kind=InputKind.UINT8, batch=1)
    with pytest.raises(UsageError, match="--batch 2 needs --input float"):
        check_request(options, input_kind=InputKind.UINT8, batch=2)
    with pytest.raises(UsageError, match="no array of bytes"):
        check_request(CoreMLOptions(precision=INT8, image_input=False), input_kind=InputKind.UINT8, batch=1)


# Options, taps, bytes.


def test_int8_needs_ios_17_and_a_quantized_graph(tmp_path: Path) -> None:
    package, _ = written(canonical())
    saved = read_package(save(package, tmp_path))
    assert (saved.specification, saved.opset) == (8, "CoreML7")
    with pytest.raises(UsageError, match="iOS 17"):
        CoreMLOptions(precision=INT8, ios=16)
    with pytest.raises(UsageError, match="no int8-dynamic"):
        CoreMLOptions(precision=Precision.INT8_DYNAMIC)
    with pytest.raises(ExportError, match="a float graph cannot be written as int8"):
        lower(canonical(), CoreMLOptions(precision=INT8))
    with pytest.raises(ExportError, match="a quantized graph cannot be written as fp16"):
        lower(quantized(canonical(), SCHEME), CoreMLOptions(precision=Precision.FP16))


def test_inner_tensors_are_floats_that_can_be_looked_at(tmp_path: Path) -> None:
    package, middle = written(canonical(), taps=("stages.1.blocks.0.conv_dw",))
    (x,) = images_of(middle, 1)
    assert len(run(package, x, tmp_path)) == 2
    shown: Mapping[str, str] = inner_tensors(tmp_path / "model.mlpackage")
    assert {"stages.1.blocks.0.mlp.fc1", "stages.1.blocks.0.mlp.fc1.input", "stages.2.blocks.1"} <= set(shown)
    assert not [name for name in shown if name.endswith((".int8", ".weight.dequantized"))]
    with pytest.raises(ExportError, match=r"no value named .*int8"):
        written(canonical(), taps=("stages.1.blocks.0.mlp.fc1.input.int8",))


def test_coremltools_reads_the_package_back(tmp_path: Path) -> None:
    ct = import_coremltools()
    package, _ = written(canonical(metadata=LABELS, picture=True))
    path = save(package, tmp_path)
    with quiet():
        model = ct.models.MLModel(str(path), skip_model_load=True)
        program = ct.converters.mil.frontend.milproto.load.load(
            model.get_spec(), specification_version=8, file_weights_dir=str(path / "Data/com.apple.CoreML/weights")
        )
    kinds = [op.op_type for op in program.functions["main"].operations]
    assert {"quantize", "dequantize", "constexpr_affine_dequantize", "classify"} <= set(kinds)


def test_same_graph_same_bytes() -> None:
    graph = canonical(metadata=LABELS)
    (a, _), (b, _) = written(graph), written(graph)
    digests = [hashlib.sha256(b"".join(p.files[name] for name in sorted(p.files))).digest() for p in (a, b)]
    assert digests[0] == digests[1]
