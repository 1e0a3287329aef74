"""OpenVINO IR: the canonical graph, operation by operation, in the form OpenVINO's CPU plugin runs fastest.

The model is built with OpenVINO's own operations rather than read from ONNX: nothing is guessed back from a pattern
(a LayerNorm is an ``MVN``), every node carries its canonical name, and nothing but the weights decides the bytes.
"""

from __future__ import annotations

import json
import math
import tempfile
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, missing_package
from edgecvx.export.canonical import DOMAIN
from edgecvx.export.lowered import Lowered
from edgecvx.export.opinfo import OpInfo
from edgecvx.export.rewrite import array_of, check_taps, is_constant, name_of, number, shape_of, spec_of, to_half
from edgecvx.spec import Precision, Task

KEPT_FLOAT = {
    "arithmetic on CPU": "FP16 files hold float16 weights; the CPU plugin computes in float32, GPU and NPU in float16",
    "GRN and LayerNorm divisions": "OpenVINO keeps a division by (… + epsilon) in float32 on devices that use float16",
}
"""What an FP16 file computes in float32, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenVINOOptions:
    """How to write an IR."""

    precision: Precision = Precision.FP32
    taps: tuple[str, ...] = ()
    """Canonical values to return too, after the task's outputs."""


def lower(graph: ir.Model, options: OpenVINOOptions) -> Lowered:
    """Writes a canonical graph as OpenVINO IR, an ``.xml`` with its ``.bin``.

    Raises:
        ExportError: A weight does not fit into float16.
        RuntimeUnavailableError: OpenVINO is not installed.
        UsageError: A tap names no value of the graph.
    """
    half = options.precision is Precision.FP16
    if half:
        for name, value in graph.graph.initializers.items():
            to_half(name, array_of(value))
    taps = check_taps(graph, options.taps)
    model = _build(graph, taps)
    _describe(model, graph.metadata_props, bytes_in=graph.graph.inputs[0].dtype is ir.DataType.UINT8)
    shown = {name_of(v): v for node in graph.graph for v in node.outputs}
    return Lowered(
        files=_serialized(model, half),
        inputs=tuple(map(spec_of, graph.graph.inputs)),
        outputs=tuple(spec_of(shown[name]) for name in (*map(name_of, graph.graph.outputs), *taps)),
        passes=("layernorm-mvn", "grn-l2", *(["compress-to-fp16"] if half else [])),
        kept_float=KEPT_FLOAT if half else {},
    )


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operations of an IR, in the order of the file; constants and their decompression count with their reader.

    Raises:
        ArtifactError: The file is not an IR.
    """
    try:
        net = ElementTree.parse(path).getroot()
        layers = {layer.attrib["id"]: layer for layer in net.iterfind("layers/layer")}
        sources: dict[str, list[str]] = {key: [] for key in layers}
        for edge in sorted(net.iterfind("edges/edge"), key=lambda e: int(e.attrib["to-port"])):
            sources[edge.attrib["to-layer"]].append(edge.attrib["from-layer"])
        return tuple(_op_infos(layers, sources))
    except (ElementTree.ParseError, KeyError, ValueError, AttributeError, OSError) as error:
        raise ArtifactError(f"{path.name} is not an OpenVINO IR that can be read: {error!r}") from error


def _op_infos(layers: Mapping[str, ElementTree.Element], sources: Mapping[str, list[str]]) -> Iterator[OpInfo]:
    """All layers that compute something when the model runs."""
    sizes: dict[str, int] = {}  # of constants nobody has counted yet, through their decompression
    for key, layer in layers.items():
        kind, below = layer.attrib["type"], sources[key]
        if kind == "Const":
            sizes[key] = int(layer.find("data").attrib["size"])  # type: ignore[union-attr]
        elif kind == "Convert" and below[0] in sizes:
            sizes[key] = sizes.pop(below[0])
        elif kind not in ("Parameter", "Result"):
            port = layer.find("output/port")
            shape = _dims(port)
            yield OpInfo(
                op=kind,
                name=layer.attrib["name"],
                dtype=_TYPES.get(port.attrib["precision"], port.attrib["precision"].lower()),  # type: ignore[union-attr]
                shape=shape,
                const_bytes=sum(sizes.pop(source, 0) for source in below),
                macs=math.prod(shape) * _depth(layer),
            )


_TYPES = {"FP32": "float32", "FP16": "float16", "U8": "uint8", "I8": "int8", "I64": "int64"}


def _depth(layer: ElementTree.Element) -> int:
    """Multiply-accumulates for one element of the output."""
    ports = [_dims(port) for port in layer.iterfind("input/port")]
    kind = layer.attrib["type"]
    if kind == "MatMul":
        return ports[0][-1]
    # Weights are [out, in, kh, kw], with the groups in front of it where there are any.
    return math.prod(ports[1][{"Convolution": 1, "GroupConvolution": 2}[kind] :]) if "Convolution" in kind else 0


def _dims(port: ElementTree.Element | None) -> tuple[int, ...]:
    return () if port is None else tuple(int(str(dim.text)) for dim in port.iterfind("dim"))


def _build(graph: ir.Model, taps: Sequence[str]) -> Any:
    ov = _load()
    ops = _opset()
    (image,) = graph.graph.inputs
    kind = np.uint8 if image.dtype is ir.DataType.UINT8 else np.float32
    parameter = ops.parameter(list(shape_of(image)), kind, name=name_of(image))
    parameter.layout = ov.Layout("NCHW")
    parameter.output(0).tensor.set_names({name_of(image)})
    values: dict[str, Any] = {name_of(image): parameter}
    for node in graph.graph:
        name = name_of(node.outputs[0])
        y = _RULES[node.domain, node.op_type](ops, node, values)
        y.set_friendly_name(name)
        y.output(0).tensor.set_names({name})
        values[name] = y
    results = []
    for name in (*map(name_of, graph.graph.outputs), *taps):
        result = ops.result(values[name])
        result.set_friendly_name(f"{name}/result")
        results.append(result)
    return ov.Model(results, [parameter], "edgecvx")


# One rule per operation of the canonical graph


def _cast(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    return ops.convert(values[name_of(node.inputs[0])], "f32")


def _conv(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    weight, bias = array_of(node.inputs[1]), node.inputs[2:]
    strides, pads = (list(node.attributes[name].as_ints()) for name in ("strides", "pads"))
    geometry = (strides, pads[:2], pads[2:], list(node.attributes["dilations"].as_ints()))
    x = values[name_of(node.inputs[0])]
    if node.attributes["group"].as_int() == 1:
        y = ops.convolution(x, _constant(ops, name_of(node.inputs[1]), weight), *geometry)
    else:  # depthwise: OpenVINO's weights are [groups, out, in, kh, kw]
        y = ops.group_convolution(x, _constant(ops, name_of(node.inputs[1]), weight[:, None]), *geometry)
    if not bias:
        return y
    y.set_friendly_name(f"{name_of(node.outputs[0])}/conv")
    return ops.add(y, _constant(ops, name_of(bias[0]), array_of(bias[0]).reshape(1, -1, 1, 1)))


def _layer_norm(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    x = values[name_of(node.inputs[0])]
    return ops.mvn(x, _integers(ops, 1), True, number(node, "epsilon"), "INSIDE_SQRT")


def _grn(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    """``N = G / (mean(G) + eps)`` does not change when ``G`` and ``eps`` are scaled alike, so both forms take the norm.

    One ``ReduceL2`` keeps the squares inside a kernel that sums in float32; a product ``x * x`` between two operations
    would overflow float16 on the devices that compute in it.
    """
    x, name = values[name_of(node.inputs[0])], name_of(node.outputs[0])
    gamma, base = (_constant(ops, name_of(v), array_of(v)) for v in node.inputs[1:])
    pixels = math.prod(shape_of(node.outputs[0])[2:])
    epsilon = number(node, "epsilon") * (math.sqrt(pixels) if node.op_type == "Grn" else 1.0)
    response = ops.reduce_l2(x, _integers(ops, 2, 3), True)
    mean = ops.reduce_mean(response, _integers(ops, 1), True)
    normalized = ops.divide(response, ops.add(mean, _constant(ops, f"{name}.epsilon", np.array(epsilon))))
    return ops.multiply(x, ops.add(ops.multiply(normalized, gamma), base))


def _gelu(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    tanh = node.attributes["approximate"].as_string() == "tanh"
    return ops.gelu(values[name_of(node.inputs[0])], "tanh" if tanh else "erf")


def _sigmoid(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    return ops.sigmoid(values[name_of(node.inputs[0])])


def _binary(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    operands = [_constant(ops, name_of(v), array_of(v)) if is_constant(v) else values[name_of(v)] for v in node.inputs]
    return (ops.add if node.op_type == "Add" else ops.multiply)(*operands)


def _pool(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    return ops.reduce_mean(values[name_of(node.inputs[0])], _integers(ops, 2, 3), True)


def _flatten(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    shape = _integers(ops, *shape_of(node.outputs[0]))
    return ops.reshape(values[name_of(node.inputs[0])], shape, False)


def _gemm(ops: Any, node: ir.Node, values: Mapping[str, Any]) -> Any:
    weight, bias = node.inputs[1], node.inputs[2:]
    matrix = _constant(ops, name_of(weight), array_of(weight))
    y = ops.matmul(values[name_of(node.inputs[0])], matrix, False, True)
    if not bias:
        return y
    y.set_friendly_name(f"{name_of(node.outputs[0])}/matmul")
    return ops.add(y, _constant(ops, name_of(bias[0]), array_of(bias[0]).reshape(1, -1)))


_RULES: dict[tuple[str, str], Callable[[Any, ir.Node, Mapping[str, Any]], Any]] = {
    ("", "Cast"): _cast,
    ("", "Conv"): _conv,
    ("", "Gemm"): _gemm,
    ("", "Gelu"): _gelu,
    ("", "Sigmoid"): _sigmoid,
    ("", "Add"): _binary,
    ("", "Mul"): _binary,
    ("", "GlobalAveragePool"): _pool,
    ("", "Flatten"): _flatten,
    (DOMAIN, "LayerNorm2d"): _layer_norm,
    (DOMAIN, "Grn"): _grn,
    (DOMAIN, "GrnL2"): _grn,
}


def _constant(ops: Any, name: str, array: NDArray[np.floating]) -> Any:
    return ops.constant(np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape), name=name)


def _integers(ops: Any, *values: int) -> Any:
    return ops.constant(np.array(values, dtype=np.int64))


def _describe(model: Any, metadata: Mapping[str, str], *, bytes_in: bool) -> None:
    """Our metadata, and the part of it that OpenVINO's Model API and DL Streamer look for under ``model_info``."""
    for key, value in sorted(metadata.items()):
        model.set_rt_info(value, key.split("."))
    if metadata.get("edgecvx.task") != Task.CLASSIFY.value:
        return
    info = {"model_type": "Classification", "resize_type": "crop"}
    if "edgecvx.labels" in metadata:  # the list is separated by blanks, so a blank inside a label cannot stay
        info["labels"] = " ".join(label.replace(" ", "_") for label in json.loads(metadata["edgecvx.labels"]))
    if "edgecvx.preprocess" in metadata and not bytes_in:
        preprocess = json.loads(metadata["edgecvx.preprocess"])
        info["mean_values"] = " ".join(f"{255 * v:.6g}" for v in preprocess["mean"])
        info["scale_values"] = " ".join(f"{255 * v:.6g}" for v in preprocess["std"])
    for key, value in sorted(info.items()):
        model.set_rt_info(value, ["model_info", key])


def _serialized(model: Any, half: bool) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        _load().save_model(model, path, compress_to_fp16=half)
        return {".xml": path.read_bytes(), ".bin": path.with_suffix(".bin").read_bytes()}


def _load() -> Any:
    try:
        import openvino
    except ModuleNotFoundError as error:
        raise missing_package("OpenVINO", "openvino") from error
    return openvino


def _opset() -> Any:
    from openvino import opset13

    return opset13
