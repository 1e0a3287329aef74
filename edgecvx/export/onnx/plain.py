"""The canonical graph as it is, with its functions written out: standard operations that every reader of ONNX has.

Quantized, it is the exchange format of INT8: QuantizeLinear and DequantizeLinear around each layer, int8 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from edgecvx.graph.canonical import DOMAIN
from edgecvx.graph.qdq import DEQUANTIZE
from edgecvx.graph.values import check_taps, constant_of, name_of
from edgecvx.graph.writer import check_onnx, new_constant


def plain_form(graph: ir.Model, taps: Sequence[str] = ()) -> ir.Model:
    """A copy without functions, every value with its type and shape.

    Raises:
        ExportError: The ONNX checker refuses the result.
        UsageError: A tap names no value of the graph.
    """
    added = check_taps(graph, taps)
    model = InlinePass()(ir.serde.deserialize_model(ir.serde.serialize_model(graph))).model
    values = {name_of(value): value for node in model.graph for value in node.outputs}
    model.graph.outputs.extend(values[name] for name in added)
    model.opset_imports.pop(DOMAIN, None)
    _write_zero_points(model)
    check_onnx(model, "written out")
    return ir.from_proto(onnx.shape_inference.infer_shapes(ir.to_proto(model), strict_mode=True))


def _write_zero_points(model: ir.Model) -> None:
    """Gives the weights the zero points that the quantized graph leaves out, being zero.

    ONNX Runtime needs them where it makes uint8 of int8 weights, for x86 processors without VNNI.
    """
    for node in model.graph:
        if node.op_type != DEQUANTIZE or len(node.inputs) != 2:
            continue
        shape = constant_of(node.inputs[1]).shape
        name = f"{name_of(node.inputs[1]).removesuffix('.scale')}.zero_point"
        model.graph.initializers[name] = value = new_constant(name, np.zeros(shape, np.int8))
        node.resize_inputs(3)
        node.replace_input_with(2, value)
