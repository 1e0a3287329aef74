"""TFLite: the canonical graph as a flatbuffer, written straight, with no TensorFlow and no converter in between."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from edgecvx.errors import ExportError, one_of
from edgecvx.export.base import Lowered, Options
from edgecvx.export.tflite.emitter import Emitter, int8_of, nhwc
from edgecvx.export.tflite.metadata import METADATA_NAME, append_labels, describe, labels_of
from edgecvx.export.tflite.ops import RULES
from edgecvx.export.tflite.schema import METADATA
from edgecvx.export.tflite.writer import Quantization, Writer
from edgecvx.graph.qdq import DEQUANTIZE, QUANTIZE, is_quantized, weight_of
from edgecvx.graph.values import shape_of
from edgecvx.spec import Precision, TensorSpec

BYTES_AS_THEY_ARE = Quantization(scales=(1.0,))
"""The quantization of an input of picture bytes: the real number is the byte."""

KEPT_FLOAT_16 = {
    "arithmetic": "the CPU kernels expand float16 weights when the file is opened and compute in float32",
    "bias and per-channel vectors": "they are under 1% of the file, and rounding them would gain nothing",
}
"""What stays float32 in a float16 file."""

GRN = "its statistics are sums of squares over the whole map, and one grid cannot hold all channels' factors"
KEPT_FLOAT_8 = {
    "LayerNorm2d": "each pixel is divided by its own deviation, and int8 would round that",
    "Grn": GRN,
    "GrnL2": GRN,
    "Gelu": "XNNPACK has no int8 kernel for it; the plain one is a table that a single thread looks up",
    "Sigmoid": "SiLU's product with it would be rounded twice",
    "Add": "the residual sum carries every block's small contribution through the network",
    "GlobalAveragePool": "it is one vector per picture",
    "Gemm": "the classifier takes and returns floats and multiplies in int8: logits on a grid would tie",
    "depthwise Conv": "XNNPACK's int8 kernels for it are no faster, and would round three partial sums",
}
"""What an INT8 file computes in float, where its graph has it."""

HALF_KERNELS = (Precision.FP16, Precision.INT8, Precision.INT8_DYNAMIC)
"""Precisions that store float kernels as float16. In an INT8 file the depthwise ones are, a tenth of all weights."""

MINIMUM_RUNTIME = {
    ("DEQUANTIZE", 3): "1.15.0",
    ("CONV_2D", 5): "2.4.0",
    ("CONV_2D", 6): "2.9.0",
    ("GELU", 1): "2.9.0",
    ("FULLY_CONNECTED", 12): "2.17.0",
}
"""Operators of a newer TFLite release than ``OLDEST_RUNTIME``, with that release."""
OLDEST_RUNTIME = "1.14.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class TFLiteOptions(Options):
    """How to lower to TFLite."""

    split_depthwise: bool = True
    """Whether a 7x7 depthwise is written as a sum of smaller ones (identity 6, ``edgecvx.export.tflite.depthwise``)."""


def lower(graph: ir.Model, options: TFLiteOptions) -> Lowered:
    """Writes a canonical graph as a TFLite file.

    The file takes and returns NHWC; its tensors carry the names of the canonical values, its signature
    ``serving_default`` those of the input and the outputs.

    Args:
        graph: The canonical graph.
        options: Precision, taps and what to split.

    Raises:
        ExportError: The graph is not canonical, or its weights do not fit the precision.
        UsageError: A tap names no value of the graph.
    """
    if is_quantized(graph) is not options.precision.quantized:
        state = "quantized" if is_quantized(graph) else "float"
        raise ExportError(f"a {state} graph cannot be lowered as {options.precision.value}")
    emitter = Emitter(
        writer=Writer(),
        half_kernels=options.precision in HALF_KERNELS,
        split_depthwise=options.split_depthwise,
    )
    source = _open(emitter, graph)
    for node in graph.graph:
        if node.op_type in (QUANTIZE, DEQUANTIZE):
            continue  # written where it is read, by ``Emitter.read``
        rule = RULES.get((node.domain, node.op_type))
        if rule is None:
            raise ExportError(
                f"{node.name}: {node.domain or 'ai.onnx'}.{node.op_type} is not an op of the canonical graph"
            )
        rule(emitter, node)
    for output in graph.graph.outputs:
        emitter.read(output)
    outputs = tuple(_spec(emitter, name) for name in _outputs(emitter, graph, options.taps))
    _describe(emitter.writer, graph.metadata_props, source, outputs)
    content = emitter.writer.finish(
        {source.name: emitter.tensors[source.name]},
        {spec.name: emitter.tensors[spec.name] for spec in outputs},
        description=graph.metadata_props.get("edgecvx.model", "edgecvx"),
    )
    half = options.precision.half
    return Lowered(
        files={".tflite": append_labels(content, labels_of(graph.metadata_props))},
        inputs=(source,),
        outputs=outputs,
        passes=tuple(emitter.passes),
        kept_float=KEPT_FLOAT_16 if half else _kept_float(graph) if options.precision.quantized else {},
    )


def _kept_float(graph: ir.Model) -> dict[str, str]:
    """What of this quantized graph is computed in float, and why."""
    ops = {node.op_type for node in graph.graph if node.op_type != "Conv" and int8_of(node) is None}
    depthwise = (node for node in graph.graph if node.op_type == "Conv" and node.attributes["group"].as_int() > 1)
    if any(weight_of(node.inputs[1]) is None for node in depthwise):
        ops.add("depthwise Conv")
    return {op: why for op, why in KEPT_FLOAT_8.items() if op in ops}


def _open(emitter: Emitter, graph: ir.Model) -> TensorSpec:
    """Makes the tensor that is fed."""
    (image,) = graph.graph.inputs
    name = str(image.name)
    dtype = "uint8" if image.dtype == ir.DataType.UINT8 else "float32"
    quantization = BYTES_AS_THEY_ARE if dtype == "uint8" else None
    emitter.tensors[name] = emitter.writer.tensor(name, nhwc(shape_of(image)), dtype, quantization=quantization)
    return _spec(emitter, name)


def _outputs(emitter: Emitter, graph: ir.Model, taps: tuple[str, ...]) -> list[str]:
    """The task's outputs and then the taps, each once."""
    known = tuple(
        name
        for name, tensor in emitter.tensors.items()
        if name == emitter.writer.name(tensor) and name != graph.graph.inputs[0].name
    )
    for tap in taps:
        if tap not in known:
            raise one_of("tap", tap, known)
    return list(dict.fromkeys([*(str(value.name) for value in graph.graph.outputs), *taps]))


def _spec(emitter: Emitter, name: str) -> TensorSpec:
    tensor = emitter.tensors[name]
    shape = emitter.writer.shape(tensor)
    dtype: Any = emitter.writer.dtype(tensor)
    return TensorSpec(name=name, shape=shape, dtype=dtype, layout="NHWC" if len(shape) == 4 else "NC")


def _describe(writer: Writer, props: dict[str, str], source: TensorSpec, outputs: tuple[TensorSpec, ...]) -> None:
    """Puts into the file what it is, ours and standard, and the oldest TFLite release that has all its operators."""
    if props:
        text = json.dumps(dict(props), sort_keys=True, ensure_ascii=False)
        writer.metadata(METADATA, text.encode())
    standard = describe(props, source, outputs)
    if standard is not None:
        writer.metadata(METADATA_NAME, standard)
    needed = [OLDEST_RUNTIME, *(MINIMUM_RUNTIME[op] for op in writer.used if op in MINIMUM_RUNTIME)]
    newest = max(needed, key=lambda version: tuple(map(int, version.split("."))))
    writer.metadata("min_runtime_version", newest.encode().ljust(16, b"\0"))
