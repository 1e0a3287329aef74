"""OpenVINO IR: the canonical graph, operation by operation, in the form OpenVINO's CPU plugin runs fastest.

The model is built with OpenVINO's own operations rather than read from ONNX: nothing is guessed back from a pattern
(a LayerNorm is an ``MVN``), every node carries its canonical name, and nothing but the weights decides the bytes.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecvx.board.engines.openvino import import_openvino
from edgecvx.errors import ExportError, missing_package, one_of
from edgecvx.export.base import Lowered, Options
from edgecvx.export.openvino.ops import rules
from edgecvx.graph.half import is_added, to_half
from edgecvx.graph.qdq import QUANTIZE, is_quantized, weight_of
from edgecvx.graph.values import LAYERS, array_of, check_taps, name_of, shape_of, spec_of
from edgecvx.spec import Task

KEPT_FLOAT = {
    "arithmetic on CPU": "FP16 files hold float16 weights; the CPU plugin computes in float32, GPU and NPU in float16",
    "GRN and LayerNorm divisions": "OpenVINO keeps a division by (… + epsilon) in float32 on devices that use float16",
}
"""What an FP16 file computes in float32, and why."""

KEPT_FLOAT_INT8 = {
    "LayerNorm": "means and norms of a pixel; what it returns is rounded to int8 in the same kernel",
    "GELU": "part of the int8 convolution before it, on that one's float sums; as int8 it would be rounded once more",
    "GRN": "norms over the picture, and a factor per channel; rounded to int8 in the same kernel as the product",
    "residual sum": "the one tensor that all blocks add to: roundings would pile up in it",
    "pooling": "a mean over the picture",
}
"""What every INT8 file computes in float, and why."""
PASSES, PASSES_INT8 = ("layernorm-mvn", "grn-l2"), ("fake-quantize", "layernorm-normalize-l2", "grn-l2")
FLOAT_LAYER = "the target's scheme leaves it in float"


def lower(graph: ir.Model, options: Options) -> Lowered:
    """Writes a canonical or quantized graph as OpenVINO IR, an ``.xml`` with its ``.bin``.

    Raises:
        ExportError: A weight does not fit into float16, or the graph is not quantized as the precision asks.
        RuntimeUnavailableError: OpenVINO is not installed.
        UsageError: A tap names no value of the file.
    """
    half, quantized = options.precision.half, is_quantized(graph)
    if quantized is not options.precision.quantized:
        kind = "quantized" if quantized else "float"
        raise ExportError(f"a {kind} graph cannot be written with precision {options.precision.value}")
    if half:
        for name, value in graph.graph.initializers.items():
            to_half(name, array_of(value), added=is_added(value))
    taps = check_taps(graph, options.taps)
    model = _build(graph, taps, quantized=quantized)
    _describe(model, graph.metadata_props, bytes_in=graph.graph.inputs[0].dtype is ir.DataType.UINT8)
    shown = {name_of(v): v for node in graph.graph for v in node.outputs}
    return Lowered(
        files=_serialized(model, half=half, compact=quantized),
        inputs=tuple(map(spec_of, graph.graph.inputs)),
        outputs=tuple(spec_of(shown[name]) for name in (*map(name_of, graph.graph.outputs), *taps)),
        passes=PASSES_INT8 if quantized else (*PASSES, "compress-to-fp16") if half else PASSES,
        kept_float=_kept_float(graph) if quantized else KEPT_FLOAT if half else {},
    )


def _kept_float(graph: ir.Model) -> dict[str, str]:
    """What an INT8 file computes in float: by kind, and each layer that could have been int8."""
    kinds = {node.op_type for node in graph.graph}
    absent = {"GELU": "Gelu", "pooling": "GlobalAveragePool"}
    kept = {what: why for what, why in KEPT_FLOAT_INT8.items() if absent.get(what) is None or absent[what] in kinds}
    if not kinds & {"Grn", "GrnL2"}:
        del kept["GRN"]
    layers = [node for node in graph.graph if node.op_type in LAYERS and weight_of(node.inputs[1]) is None]
    return kept | {name_of(node.outputs[0]): FLOAT_LAYER for node in layers}


def _build(graph: ir.Model, taps: Sequence[str], *, quantized: bool) -> Any:
    ov = _load()
    ops = ov.opset13
    (image,) = graph.graph.inputs
    kind = np.uint8 if image.dtype is ir.DataType.UINT8 else np.float32
    parameter = ops.parameter(list(shape_of(image)), kind, name=name_of(image))
    parameter.layout = ov.Layout("NCHW")
    parameter.output(0).tensor.set_names({name_of(image)})
    values: dict[str, Any] = {name_of(image): parameter}
    table = rules(quantized=quantized)
    for node in graph.graph:
        if node.op_type == QUANTIZE or weight_of(node.outputs[0]) is not None:
            continue  # written with the DequantizeLinear, or the layer, that reads it
        name = name_of(node.outputs[0])
        y = table[node.domain, node.op_type](ops, node, values)
        y.set_friendly_name(name)
        y.output(0).tensor.set_names({name})
        values[name] = y
    results = []
    for name in (*map(name_of, graph.graph.outputs), *taps):
        if name not in values:
            raise one_of("value of an OpenVINO file", name, tuple(values))
        result = ops.result(values[name])
        result.set_friendly_name(f"{name}/result")
        results.append(result)
    model = ov.Model(results, [parameter], "edgecvx")
    _number_from_zero(model)
    return model


def _number_from_zero(model: Any) -> None:
    """OpenVINO numbers what has no name through the life of the process; a file's begin at 1, its input."""
    first = int(model.get_parameters()[0].get_name().rpartition("_")[2])
    for node in model.get_ops():
        kind, _, number = node.get_name().rpartition("_")
        if node.get_friendly_name() == node.get_name():
            node.set_friendly_name(f"{kind}_{int(number) - first + 1}")


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


def _serialized(model: Any, *, half: bool, compact: bool) -> dict[str, bytes]:
    """The two files; ``compact`` leaves out the blanks that OpenVINO indents its XML with, a sixth of it."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.xml"
        _load().save_model(model, path, compress_to_fp16=half)
        xml = path.read_bytes()
        return {
            ".xml": re.sub(rb">\s+<", b"><", xml) if compact else xml,
            ".bin": path.with_suffix(".bin").read_bytes(),
        }


def _load() -> Any:
    try:
        return import_openvino()
    except ModuleNotFoundError as error:
        raise missing_package("OpenVINO", "openvino") from error
