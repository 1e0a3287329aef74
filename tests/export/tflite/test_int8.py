"""INT8 TFLite files: each layer computes what the quantized graph says, and in the arithmetic that is claimed."""

from __future__ import annotations

import dataclasses
import functools
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
import torch
from lowerings import canonical, written
from numpy.typing import NDArray
from quantized import images_of, quantized, run_onnx
from support import network, probe, relative_error

pytest.importorskip("ai_edge_litert")

from ai_edge_litert.interpreter import Interpreter
from opening import open_tflite as open_session

from edgecvx.errors import ExportError
from edgecvx.export.base import Lowered
from edgecvx.export.tflite.expose import expose, inner_tensors
from edgecvx.export.tflite.format import FORMAT
from edgecvx.export.tflite.lower import TFLiteOptions, lower
from edgecvx.export.tflite.reader import read_ops
from edgecvx.export.tflite.schema import load_schema, read_bytes, read_file
from edgecvx.export.tflite.writer import pack
from edgecvx.graph.grids import bias_int32
from edgecvx.graph.qdq import output_grid, quantized_input, weight_of
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Precision, PreprocessSpec, Task
from edgecvx.targets import get_target

STATIC, DYNAMIC = (FORMAT.schemes[p] for p in (Precision.INT8, Precision.INT8_DYNAMIC))
TABLE = get_target("raspberrypi5").schemes[Precision.INT8]

ALL_INT8, TABLE_EVERYWHERE = (dataclasses.replace(scheme, returns_floats=()) for scheme in (STATIC, TABLE))
"""With every output on a grid: what the targets leave out of that is where it would cost answers."""
FLOATS = {
    **dict.fromkeys(
        (STATIC, TABLE, ALL_INT8, TABLE_EVERYWHERE), ("stages.0.*.conv_dw", "stages.[12].blocks.[!0]*.conv_dw")
    ),
    DYNAMIC: ("stages.[!1].*.conv_dw", "stages.1.blocks.[!0]*.conv_dw"),
}
"""A choice of INT8 depthwise convolutions that shows every way to write one; what is chosen for a network is told by
``edgecvx.quantize.keep``."""

EVERYTHING = Scheme(outputs=frozenset(Role))
ALL_DYNAMIC = Scheme(dynamic=True)

CLOSE = 0.05
"""Of the largest logit. Two sums a rounding apart may fall to different steps of a grid, and a layer that finds its
scale at run time rounds its input where the graph leaves it float; 0.017 seen. It tells a file from a broken one; what
is exact is compared layer by layer."""


def lowered(graph: ir.Model, precision: Precision = Precision.INT8, **options: Any) -> Lowered:
    return lower(graph, TFLiteOptions(precision=precision, **options))


def run(file: Lowered, image: NDArray[Any], folder: Path, **options: str) -> dict[str, NDArray[Any]]:
    session = open_session(written(file, folder), threads=1, options=options)
    assert (session.inputs, session.outputs) == (file.inputs, file.outputs)
    return session.run(np.ascontiguousarray(image.transpose(0, 2, 3, 1)))


@functools.cache
def quantized_network(scheme: Scheme, name: str = "v2") -> ir.Model:
    return quantized(canonical(network(**NETWORKS[name])), scheme, floats=FLOATS.get(scheme, ()))


NETWORKS: dict[str, dict[str, Any]] = {
    "v2": {},
    "padded stem, SiLU, other kernels": {"stem": "overlap", "act": "silu", "kernel_sizes": (3, 5, 7, 9), "grn": False},
}


def layers_of(graph: ir.Model) -> dict[str, ir.Node]:
    """The layers with int8 weights, by canonical name."""
    convolutions = [node for node in graph.graph if node.op_type in ("Conv", "Gemm")]
    return {str(n.outputs[0].name): n for n in convolutions if weight_of(n.inputs[1]) is not None}


def convolve(node: ir.Node, x: NDArray[Any], weight: NDArray[Any]) -> NDArray[np.float64]:
    """A layer without its bias, in float64, which is exact on integers."""
    if node.op_type == "Gemm":
        return np.asarray(x.astype(np.float64) @ weight.T.astype(np.float64))
    pads = node.attributes["pads"].as_ints()
    padded = torch.nn.functional.pad(torch.from_numpy(x.astype(np.float64)), (pads[1], pads[3], pads[0], pads[2]))
    result = torch.nn.functional.conv2d(
        padded,
        torch.from_numpy(weight.astype(np.float64)),
        stride=tuple(node.attributes["strides"].as_ints()),
        groups=node.attributes["group"].as_int(),
    )
    return result.numpy()


def bias_of(node: ir.Node, channels: int) -> NDArray[np.float32]:
    return node.inputs[2].const_value.numpy() if len(node.inputs) > 2 else np.zeros(channels, np.float32)  # type: ignore[union-attr]


def int8_result(node: ir.Node, taken: NDArray[np.int8]) -> NDArray[np.float64]:
    """What an int8 layer has to return for the integers it took, before rounding."""
    weight, source, grid = weight_of(node.inputs[1]), quantized_input(node.inputs[0]), output_grid(node.outputs[0])
    assert weight is not None
    assert source is not None
    assert grid is not None
    column = (-1,) if node.op_type == "Gemm" else (-1, 1, 1)
    sums = convolve(node, taken.astype(np.int32) - source[1].zero_point, weight.values)
    sums += bias_int32(bias_of(node, len(weight.scales)), source[1].scale, weight.scales).reshape(column)
    real = sums * (source[1].scale * weight.scales.astype(np.float64)).reshape(column)
    return np.clip(real / grid.scale + grid.zero_point, -128, 127)


def nchw(values: NDArray[Any]) -> NDArray[Any]:
    return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if values.ndim == 4 else values


def int8_ends(node: ir.Node) -> tuple[str, str]:
    """The names of the int8 tensors that a layer takes and returns; one that was int8 before is taken as it is."""
    (reader,) = node.outputs[0].uses()
    source, _ = quantized_input(node.inputs[0])  # type: ignore[misc]
    before = source.producer()
    taken = before if before is not None and before.op_type == "DequantizeLinear" else node.inputs[0].producer()  # type: ignore[union-attr]
    return str(taken.inputs[0].name), str(reader.node.outputs[0].name)  # type: ignore[union-attr]


def with_ends(graph: ir.Model) -> tuple[dict[str, ir.Node], Lowered]:
    """The layers that take and return int8, and the file that shows both; a split depthwise would return float."""
    layers = {name: node for name, node in layers_of(graph).items() if output_grid(node.outputs[0]) is not None}
    taps = [end for node in layers.values() for end in int8_ends(node)]
    return layers, lowered(graph, taps=taps, split_depthwise=False)


def steps_off(layers: dict[str, ir.Node], path: Path, **options: str) -> dict[str, float]:
    """For each layer, the largest distance of its integers from what its own input asks for."""
    values = open_session(path, threads=1, options=options).run(np.ascontiguousarray(probe().transpose(0, 2, 3, 1)))
    off = {}
    for name, node in layers.items():
        taken, returned = (values[end] for end in int8_ends(node))
        assert taken.dtype == np.int8 and returned.dtype == np.int8
        off[name] = float(np.abs(nchw(returned) - int8_result(node, nchw(taken))).max())
    return off


HALF_A_STEP = 0.51
"""Rounding, and float32's own in the last product."""


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_each_int8_layer_is_exact(name: str, delegate: str, tmp_path: Path) -> None:
    """The integers a layer returns are those its own integers ask for."""
    layers, file = with_ends(quantized_network(EVERYTHING, name))
    assert len(layers) >= 14
    assert max(steps_off(layers, written(file, tmp_path), delegate=delegate).values()) <= HALF_A_STEP


@pytest.mark.parametrize("broken", ["zero point", "scale", "weights", "bias"])
def test_a_broken_layer_would_be_noticed(broken: str, tmp_path: Path) -> None:
    """Of a file with one number wrong, exactly that layer fails the comparison above."""
    layers, file = with_ends(quantized_network(STATIC))
    path = written(file, tmp_path)
    model = load_schema().ModelT.InitFromPackedBuf(read_bytes(path), 0)
    tensors = {t.name.decode(): t for t in model.subgraphs[0].tensors}
    layer = "stages.1.blocks.0.mlp.fc1"
    if broken == "zero point":
        tensors[f"{layer}.int8"].quantization.zeroPoint = np.asarray([3])
    elif broken == "scale":
        tensors[f"{layer}.int8"].quantization.scale = 1.05 * tensors[f"{layer}.int8"].quantization.scale
    else:
        buffer = model.buffers[tensors[f"{layer}.{'weight' if broken == 'weights' else 'bias'}"].buffer]
        buffer.data = np.roll(buffer.data, 16)
    path.write_bytes(pack(model))
    assert {name for name, off in steps_off(layers, path).items() if off > HALF_A_STEP} == {layer}


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_split_int8_depthwise_rounds_each_part_once(delegate: str, tmp_path: Path) -> None:
    """Three roundings of half a step each, on a grid as wide as the sum's; the sum is float and not rounded again."""
    graph = quantized_network(EVERYTHING)
    layers = {name: node for name, node in layers_of(graph).items() if name.endswith("conv_dw")}
    file = lowered(graph, taps=[tap for name, node in layers.items() for tap in (name, int8_ends(node)[0])])
    values = run(file, probe(), tmp_path, delegate=delegate)
    for name, node in layers.items():
        weight, source, grid = weight_of(node.inputs[1]), quantized_input(node.inputs[0]), output_grid(node.outputs[0])
        assert weight is not None
        assert source is not None
        assert grid is not None
        taken = source[1].dequantize(nchw(values[int8_ends(node)[0]]))
        expected = convolve(node, taken, weight.dequantize()) + bias_of(node, len(weight.scales)).reshape(-1, 1, 1)
        step = max(-grid.low, grid.high) / 127
        off = np.abs(nchw(values[name]) - expected)
        assert off.max() <= 3 * HALF_A_STEP * step, name
        assert off.max() > 0.5 * step, f"{name}: nothing was rounded, so nothing was int8"


def test_a_depthwise_behind_a_downsample_reads_its_integers() -> None:
    """Both grids are of the same tensor: there is nothing to dequantize and quantize again."""
    file = lowered(quantized_network(ALL_INT8))
    readers = [op for op in ops_of(file) if op.name == "DEPTHWISE_CONV_2D" and op.outputs[0].dtype == "int8"]
    assert {op.inputs[0].name for op in readers} == {f"stages.{i}.downsample.1.int8" for i in (1, 2, 3)}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_each_dynamic_layer_rounds_only_its_input(name: str, delegate: str, tmp_path: Path) -> None:
    """Each pixel (or picture) has 255 steps of its own range; the rest is float32. So too each depthwise, in groups."""
    graph = quantized_network(ALL_DYNAMIC, name)
    layers = layers_of(graph)
    sources = {name: str(node.inputs[0].name) for name, node in layers.items()}  # type: ignore[union-attr]
    file = lowered(graph, Precision.INT8_DYNAMIC, taps=[t for t in (*sources.values(), *layers) if t != "image"])
    values = run(file, probe(), tmp_path, delegate=delegate) | {"image": probe().transpose(0, 2, 3, 1)}
    for name, node in layers.items():
        weight, x = weight_of(node.inputs[1]), nchw(values[sources[name]])
        assert weight is not None
        bias = bias_of(node, len(weight.scales)).reshape(-1, *[1] * (x.ndim - 2))
        expected = convolve(node, x, weight.dequantize()) + bias
        step = (max(x.max(), 0) - min(x.min(), 0)) / 255
        limit = convolve(node, np.full_like(x, step), np.abs(weight.dequantize())) + 1e-4
        assert (np.abs(nchw(values[name]) - expected) <= limit).all(), name


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("scheme", [STATIC, DYNAMIC], ids=["static", "dynamic"])
def test_the_file_computes_the_quantized_graph(name: str, scheme: Scheme, tmp_path: Path) -> None:
    """From the picture to the logits, in one XNNPACK partition and in the plain kernels."""
    graph = quantized_network(scheme, name)
    file = lowered(graph, Precision.INT8_DYNAMIC if scheme.dynamic else Precision.INT8)
    expected = run_onnx(graph, probe())["logits"]
    for delegate in ("xnnpack", "none"):
        assert relative_error(run(file, probe(), tmp_path, delegate=delegate)["logits"], expected) < CLOSE, delegate
    assert partitions(tmp_path / "model.tflite") == 1


LIKE = 0.995
"""Cosine of two INT8 forms of one map: both are 0.9988 from FP32 in the last stage, and 0.9986 from each other, since a
sum between two steps goes one way here and the other there. Another network's is near 0."""


@pytest.mark.parametrize("task", [Task.FEATURES, Task.EMBED])
@pytest.mark.parametrize("scheme", [TABLE, DYNAMIC], ids=["static", "dynamic"])
def test_other_tasks_and_batches(task: Task, scheme: Scheme, tmp_path: Path) -> None:
    """Unfolded, two pictures at a time. Single pixels of a map may be steps apart, so whole maps are compared."""
    graph = quantized(canonical(network(), task=task, batch=2, folds=()), scheme)
    file = lowered(graph, Precision.INT8_DYNAMIC if scheme.dynamic else Precision.INT8)
    expected = run_onnx(graph, probe(2))
    for name, values in run(file, probe(2), tmp_path).items():
        a, e = (array.ravel().astype(np.float64) for array in (nchw(values), expected[name]))
        assert a @ e / np.linalg.norm(a) / np.linalg.norm(e) > LIKE, name


@pytest.mark.parametrize("act", ["gelu", "gelu_tanh"])
def test_gelu_as_a_table_is_exact(act: str, tmp_path: Path) -> None:
    """Where both its sides are on grids, each of the 256 integers has its own result."""
    graph = quantized(canonical(network(act=act)), TABLE_EVERYWHERE, floats=FLOATS[TABLE])
    nodes = [node for node in graph.graph if node.op_type == "Gelu"]
    file = lowered(graph, taps=[end for node in nodes for end in int8_ends(node)])
    assert "int8-gelu" in file.passes
    assert "Gelu" not in file.kept_float
    values = run(file, probe(), tmp_path)
    for node in nodes:
        (taken, returned), source = (values[end] for end in int8_ends(node)), quantized_input(node.inputs[0])
        grid = output_grid(node.outputs[0])
        assert source is not None
        assert grid is not None
        x = torch.from_numpy(source[1].dequantize(taken)).double()
        exact = torch.nn.functional.gelu(x, approximate="tanh" if act == "gelu_tanh" else "none").numpy()
        steps = np.clip(exact / grid.scale + grid.zero_point, -128, 127)
        assert np.abs(returned - steps).max() <= HALF_A_STEP
    assert relative_error(values["logits"], run_onnx(graph, probe())["logits"]) < CLOSE


@pytest.mark.parametrize("scheme", [STATIC, TABLE])
def test_inner_tensors_of_an_int8_file_can_be_looked_at(scheme: Scheme, tmp_path: Path) -> None:
    """Under their canonical names and in float, also those the file never turns into floats itself.

    Single pixels of a map may be steps apart, so whole maps are compared.
    """
    graph = quantized_network(scheme)
    path = written(lowered(graph), tmp_path)
    names = [
        "stages.1.blocks.0.conv_dw",
        "stages.2.blocks.1.mlp.fc1",
        "stages.2.blocks.1.mlp.act",
        "stages.3.downsample.1",
    ]
    own = inner_tensors(path)
    assert set(names) <= set(own)
    debug = tmp_path / "debug.tflite"
    debug.write_bytes(expose(path, [own[name] for name in names])[".tflite"])
    x = np.ascontiguousarray(probe().transpose(0, 2, 3, 1))
    values, plain = open_session(debug, threads=1).run(x), open_session(path, threads=1).run(x)
    assert np.array_equal(values["logits"], plain["logits"])
    expected = run_onnx(graph, probe(), names)
    for name in names:
        difference = nchw(values[own[name]]) - expected[name]
        assert np.linalg.norm(difference) < CLOSE * np.linalg.norm(expected[name]), name


def test_another_network_would_be_noticed(tmp_path: Path) -> None:
    logits = run(lowered(quantized(canonical(network(seed=1)), STATIC)), probe(), tmp_path)["logits"]
    assert relative_error(logits, run_onnx(quantized_network(STATIC), probe())["logits"]) > 4 * CLOSE


def test_bytes_go_straight_into_int8(tmp_path: Path) -> None:
    """One QUANTIZE shifts the picture's bytes by 128: nothing is rounded, and no float stands before the stem."""
    graph = quantized(canonical(network(), preprocess=PreprocessSpec(size=64)), STATIC)
    (picture,) = images_of(graph, count=1)
    file = lowered(graph, taps=("stem.0.input.int8",))
    values = run(file, picture, tmp_path)
    assert file.inputs[0].dtype == "uint8"
    assert np.array_equal(nchw(values["stem.0.input.int8"]), (picture.astype(np.int16) - 128).astype(np.int8))
    assert relative_error(values["logits"], run_onnx(graph, picture)["logits"]) < CLOSE
    door, stem = read_file(tmp_path / "model.tflite").ops[:2]
    assert (door.name, door.inputs[0].dtype, door.outputs[0].dtype) == ("QUANTIZE", "uint8", "int8")
    assert (stem.name, stem.outputs[0].dtype) == ("CONV_2D", "int8")


def test_only_what_is_read_is_written() -> None:
    """A graph has a pair of Q and DQ at each quantized tensor; a file only those that move a tensor across."""
    graph = quantized_network(ALL_INT8)
    ops = Counter(op.name for op in ops_of(lowered(graph)))
    blocks, convolutions, depthwise = 5, 4, 3  # of them stem and downsamples; those of the depthwise that are int8
    assert ops["QUANTIZE"] == 2 * blocks + convolutions
    kernels = 3 * (blocks - depthwise)  # of the others, three parts each, stored as float16
    assert ops["DEQUANTIZE"] == 2 * blocks + convolutions + 3 * depthwise + kernels
    dynamic = Counter(op.name for op in ops_of(lowered(quantized_network(DYNAMIC), Precision.INT8_DYNAMIC)))
    assert dynamic["QUANTIZE"] == 0
    assert dynamic["FULLY_CONNECTED"] == 2 * blocks


def test_what_runs_in_int8_can_be_told(tmp_path: Path) -> None:
    """By its factors, not by its output: a layer that finds its scale at run time returns floats."""
    for scheme, precision in ((STATIC, Precision.INT8), (DYNAMIC, Precision.INT8_DYNAMIC)):
        file = lowered(quantized_network(scheme), precision)
        ops = [op for op in read_ops(written(file, tmp_path)) if op.macs]
        assert {op.op for op in ops if not op.bits} == {"DEPTHWISE_CONV_2D"}
        depthwise = 1 if scheme.dynamic else 3 * 3  # in groups; in three parts each, right behind a downsample
        assert sum(op.bits == 8 for op in ops) == 2 * 5 + 4 + 1 + depthwise
        assert "depthwise Conv" in file.kept_float
        assert {"LayerNorm2d", "Grn", "Gelu", "Add", "Gemm"} <= set(file.kept_float)


def test_zeros_of_a_depthwise_in_groups_are_no_work(tmp_path: Path) -> None:
    """A network has the same multiply-accumulates in every file; what is zero by design is read from the file."""
    graph, layer = canonical(network()), "stages.1.blocks.0.conv_dw"
    exact = macs_of(lowered(graph, Precision.FP32), tmp_path)
    file = lowered(quantized(graph, ALL_DYNAMIC), Precision.INT8_DYNAMIC)
    macs = macs_of(file, tmp_path)
    assert sum(macs.values()) == sum(exact.values())
    assert all(op.bits for op in read_ops(tmp_path / "model.tflite") if op.macs)
    model = load_schema().ModelT.InitFromPackedBuf(file.files[".tflite"], 0)
    kernel = next(t for t in model.subgraphs[0].tensors if t.name.decode() == f"{layer}.weight")
    model.buffers[kernel.buffer].data = np.ones(kernel.shape, np.uint8).ravel()
    mixing = Lowered(files={".tflite": pack(model)}, inputs=file.inputs, outputs=file.outputs)
    assert macs_of(mixing, tmp_path)[layer] == 8 * macs[layer]  # that reads all eight channels of a group


def test_operator_versions_are_the_lowest_that_serve(tmp_path: Path) -> None:
    """Older releases run the static file; only the dynamic one needs the FULLY_CONNECTED of 2.17."""
    static = lowered(quantized_network(EVERYTHING))
    path = written(static, tmp_path)
    versions = {(op.name, op.version) for op in read_file(path).ops if op.outputs[0].dtype == "int8"}
    assert versions == {("QUANTIZE", 1), ("CONV_2D", 3), ("DEPTHWISE_CONV_2D", 3), ("RESHAPE", 1)}
    assert read_file(path).metadata["min_runtime_version"].rstrip(b"\0") == b"2.9.0"
    path = written(lowered(quantized_network(DYNAMIC), Precision.INT8_DYNAMIC), tmp_path)
    versions = {(op.name, op.version) for op in read_file(path).ops if op.inputs[1:] and op.inputs[1].dtype == "int8"}
    assert versions == {("FULLY_CONNECTED", 12), ("CONV_2D", 5), ("CONV_2D", 6)}  # 6 knows groups
    assert read_file(path).metadata["min_runtime_version"].rstrip(b"\0") == b"2.17.0"


def test_same_input_same_bytes() -> None:
    first, second = (lowered(quantized_network(STATIC)).files[".tflite"] for _ in range(2))
    assert first == second


def test_what_tflite_cannot_compute_is_refused() -> None:
    graph = canonical(network())
    with pytest.raises(ExportError, match="float graph cannot be lowered as int8"):
        lowered(graph)
    with pytest.raises(ExportError, match="quantized graph cannot be lowered as fp32"):
        lowered(quantized(graph, STATIC), Precision.FP32)


def test_tensorflow_runs_them_too(tmp_path: Path) -> None:
    pytest.importorskip("tensorflow")
    for scheme, precision in ((STATIC, Precision.INT8), (DYNAMIC, Precision.INT8_DYNAMIC)):
        graph = quantized_network(scheme)
        file = lowered(graph, precision)
        logits = run(file, probe(), tmp_path, interpreter="tensorflow")["logits"]
        assert relative_error(logits, run_onnx(graph, probe())["logits"]) < CLOSE


def ops_of(file: Lowered) -> list[Any]:
    with tempfile.TemporaryDirectory() as folder:
        return list(read_file(written(file, Path(folder))).ops)


def macs_of(file: Lowered, folder: Path) -> dict[str, int]:
    return {op.name: op.macs for op in read_ops(written(file, folder)) if op.macs}


def partitions(path: Path) -> int:
    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    return sum(op["op_name"] == "DELEGATE" for op in interpreter._get_ops_details())


def test_what_returns_floats_finds_its_scale_in_an_operator_that_old_releases_have(tmp_path: Path) -> None:
    """The downsamples and the last stage's products: CONV_2D, whose output nobody has to dequantize."""
    graph, file = quantized_network(STATIC), lowered(quantized_network(STATIC))
    floats = {n for n, node in layers_of(graph).items() if output_grid(node.outputs[0]) is None and n != "logits"}
    assert floats == {f"stages.{i}.downsample.1" for i in (1, 2, 3)} | {f"stages.3.blocks.0.mlp.fc{i}" for i in (1, 2)}
    ops = {op.outputs[0].name: op for op in ops_of(file)}
    for name in floats:
        assert ops[name].name == "CONV_2D" and ops[name].outputs[0].dtype == "float32"
        assert ops[name].inputs[1].dtype == "int8"
    near, exact = run(file, probe(), tmp_path)["logits"], run_onnx(graph, probe())["logits"]
    assert relative_error(near, exact) < CLOSE
