"""What is in an ONNX file, without running it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx_ir as ir
from google.protobuf.message import DecodeError

from edgecvx.errors import ArtifactError
from edgecvx.export.base import OpInfo
from edgecvx.graph.pairs import PairOrder, Product
from edgecvx.graph.qdq import DEQUANTIZE
from edgecvx.graph.values import LAYERS, is_constant, name_of, producer, shape_of

_WEIGHTS = {"Conv": 1, "Gemm": 1, "MatMulIntegerToFloat": 1, "DynamicQuantizeMatMul": 1, "QLinearConv": 3}
"""Operations that may multiply integers -> which of their inputs are the weights."""
PRODUCTS = ("Gemm", "MatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")


def read_products(path: Path) -> tuple[Product, ...]:
    """The layers of an ONNX file whose int8 weights ONNX Runtime's kernels read in pairs.

    Raises:
        ArtifactError: The file is not an ONNX model.
    """
    return tuple(filter(None, map(_product, _graph(path))))


def _product(node: ir.Node) -> Product | None:
    weight = node.inputs[_WEIGHTS[node.op_type]] if node.op_type in _WEIGHTS else None
    if (source := producer(weight, DEQUANTIZE)) is not None:
        weight = source.inputs[0]
    if weight is None or weight.const_value is None or weight.const_value.dtype is not ir.DataType.INT8:
        return None
    values = np.asarray(weight.const_value.numpy(), np.int8)
    is_depthwise = values.ndim == 4 and values.shape[1] == 1
    if node.op_type in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul"):  # [in, out]
        values = values.T
    return None if is_depthwise else Product(name=name_of(node.outputs[0]), values=values, order=PairOrder.ROWS)


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operations of an ONNX file, in the order they are executed.

    Raises:
        ArtifactError: The file is not an ONNX model.
    """
    seen: set[str] = set()
    return tuple(_op_info(node, seen) for node in _graph(path))


def _graph(path: Path) -> ir.Graph:
    try:
        graph = ir.load(path).graph
    except (DecodeError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path.name} is not an ONNX model that can be read: {' '.join(str(error).split())}"
        ) from error
    if not len(graph):
        raise ArtifactError(f"{path.name} is not an ONNX model: it has no operations")
    return graph


def _op_info(node: ir.Node, seen: set[str]) -> OpInfo:
    """One node; ``seen`` are the constants counted so far."""
    value = node.outputs[0]
    constants = {name_of(v): v for v in node.inputs if is_constant(v)}
    fresh = [v for name, v in constants.items() if v is not None and name not in seen]
    seen.update(constants)
    return OpInfo(
        op=f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
        name=name_of(value),
        dtype=value.dtype.numpy().name if value.dtype is not None else "unknown",
        shape=shape_of(value),
        const_bytes=sum(v.const_value.nbytes for v in fresh if v.const_value is not None),
        macs=_macs(node),
        bits=8 if _is_int8(node) else None,
    )


def _macs(node: ir.Node) -> int:
    """Each element of the output takes one multiply-accumulate per weight that leads to it."""
    if node.op_type in ("Conv", "QLinearConv"):
        weight = node.inputs[1 if node.op_type == "Conv" else 3]
        depth = 0 if weight is None else math.prod(shape_of(weight)[1:])
    elif node.op_type in PRODUCTS and node.inputs[0] is not None and not _is_mean(node):
        depth = shape_of(node.inputs[0])[-1]
    else:
        return 0
    return math.prod(shape_of(node.outputs[0])) * depth


def _is_mean(node: ir.Node) -> bool:
    """Whether a product only adds up: with a row or a column of one number. Other formats have an operation for it."""
    factors = [v.const_value.numpy() for v in node.inputs[:2] if v is not None and v.const_value is not None]
    return any(1 in factor.shape and factor.size > 1 and np.ptp(factor) == 0 for factor in factors)


def _is_int8(node: ir.Node) -> bool:
    """Whether integers are multiplied: by an operation made for it, or between the Q and DQ a runtime fuses."""
    if node.op_type in ("QLinearConv", "MatMulIntegerToFloat", "DynamicQuantizeMatMul"):
        return True
    return node.op_type in LAYERS and all(producer(value, DEQUANTIZE) is not None for value in node.inputs[:2])
