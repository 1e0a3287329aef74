"""What TensorRT asks of an ONNX file, as rules that name the node that breaks one.

TensorRT refuses such a file only on the device, minutes into a build, or takes it and computes in floats what was meant
to be INT8. So each rule is a small function here, with where it is known from; every export is held to all of them, and
``edgecvx inspect`` holds the file that lies there. None of this was run on hardware: the rules are what NVIDIA's
documents, parser and issue tracker say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, ExportError
from edgecvx.export.qdq import DEQUANTIZE, QUANTIZE
from edgecvx.export.rewrite import is_constant, name_of

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
WEIGHTED = ("Conv", "Gemm")
MOVES = ("Transpose", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Cast")
"""What changes the place or the type of numbers and computes nothing."""
POINTWISE = ("Add", "Div", "Mul", "Sub")
CURVES = ("Erf", "Tanh", "Sigmoid")
"""What makes a chain of pointwise operations an activation function."""
REDUCTIONS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "Sqrt")
FEW_CHANNELS = 4
OPSETS = (17, 20)
OPS = frozenset(
    (
        *("Add", "Cast", "Conv", "DequantizeLinear", "Div", "Erf", "Flatten", "Gemm", "GlobalAveragePool"),
        *("LayerNormalization", "Mul", "QuantizeLinear", "ReduceMean", "ReduceSum", "Sigmoid", "Sqrt", "Tanh"),
        "Transpose",
    )
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """One node that breaks one rule."""

    rule: str
    node: str
    """By name; the graph's own for what concerns all of it."""
    message: str

    def __str__(self) -> str:
        return f"{self.rule}: {self.node}: {self.message}"


Found = Iterator[tuple[str, str]]
"""Names of nodes, and what is wrong with each."""


def readable_opset(model: ir.Model) -> Found:
    """Opset 17 to 20.

    Source: onnx-tensorrt's release notes: LayerNormalization, which came with opset 17, is read from TensorRT 8.6 on,
    and TensorRT 10.0 reads opsets 9 to 20.
    """
    opset = model.opset_imports.get("", 0)
    if not OPSETS[0] <= opset <= OPSETS[1]:
        yield _graph(model), f"opset {opset} is not from {OPSETS[0]} to {OPSETS[1]}"


def standard_operations(model: ir.Model) -> Found:
    """ONNX's own domain, no functions, and of its operations those we know TensorRT to read.

    Source: onnx-tensorrt, docs/operators.md; QLinearConv, ConvInteger and DynamicQuantizeLinear are among those it does
    not read.
    """
    for function in model.functions.values():
        yield function.name, "is a function of the model"
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPS:
            yield _name(node), f"{node.domain or 'ai.onnx'}.{node.op_type} is not one of the operations in use here"


def static_shapes(model: ir.Model) -> Found:
    """Every value has a static shape and a type.

    Source: NVIDIA's guide: without, an engine needs an optimization profile, which nothing here would make.
    """
    for value in model.graph.inputs:
        if value.shape is None or not value.shape.is_static() or value.dtype is None:
            yield name_of(value), "has no static shape or no type"
    for node in model.graph:
        for value in node.outputs:
            if value.shape is None or not value.shape.is_static() or value.dtype is None:
                yield _name(node), f"its output {value.name!r} has no static shape or no type"


def named_nodes(model: ir.Model) -> Found:
    """Each node has a name of its own.

    Source: onnx-tensorrt names its layers by it, and a profile is read by the names of layers.
    """
    seen: set[str] = set()
    for index, node in enumerate(model.graph):
        if not node.name or node.name in seen:
            yield node.name or f"node {index}", "has no name of its own"
        seen.add(node.name or "")


def float_door(model: ir.Model) -> Found:
    """Inputs are float32, or bytes that go into a Cast; outputs are float32.

    Source: onnx-tensorrt reads uint8 inputs since 8.5; NVIDIA's guide: only a cast may read them.
    """
    for value in model.graph.inputs:
        readers = {use.node.op_type for use in value.uses()}
        if value.dtype is not ir.DataType.FLOAT and not (value.dtype is ir.DataType.UINT8 and readers <= {"Cast"}):
            yield name_of(value), f"is an input of type {value.dtype} read by {', '.join(sorted(readers)) or 'nobody'}"
    for value in model.graph.outputs:
        if value.dtype is not ir.DataType.FLOAT:
            yield name_of(value), f"is an output of type {value.dtype}"


def three_inputs(model: ir.Model) -> Found:
    """Q and DQ have a scale and a zero point, as many of one as of the other.

    Source: asserted by onnx-tensorrt's QuantDequantLinearHelper; some of its versions refuse a node without zero point.
    """
    for node in _pairs(model):
        if len(node.inputs) != 3 or None in node.inputs:
            yield _name(node), "has no zero point"
        elif is_constant(node.inputs[1]) and is_constant(node.inputs[2]):
            scale, zero = (_numbers(v) for v in node.inputs[1:3])
            if scale.size != zero.size:
                yield _name(node), f"has {scale.size} scales and {zero.size} zero points"


def symmetric(model: ir.Model) -> Found:
    """Every zero point is 0.

    Source: onnx-tensorrt asserts it: "Non-zero zero point is not supported".
    """
    for node in _pairs(model):
        if len(node.inputs) == 3 and is_constant(node.inputs[2]) and _numbers(node.inputs[2]).any():
            yield _name(node), f"has zero point {int(_numbers(node.inputs[2]).flat[0])}"


def signed_bytes(model: ir.Model) -> Found:
    """Q returns int8 and DQ reads int8.

    Source: the parser takes uint8 for DLA alone, and int32 (a quantized bias) never: "only activation datatypes allowed
    as input to this layer".
    """
    for node in _pairs(model):
        value = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
        if _type(value) is not ir.DataType.INT8:
            yield _name(node), f"has {_type(value)} where INT8 is wanted"


def constant_scales(model: ir.Model) -> Found:
    """Scales are positive float32 constants.

    Source: asserted by the parser. Half scales would take opset 19, and Orin's compiler has failed on such a node
    (NVIDIA/TensorRT issue 4832).
    """
    for node in _pairs(model):
        scale = node.inputs[1]
        if not is_constant(scale):
            yield _name(node), "has a scale that is no constant"
        elif _type(scale) is not ir.DataType.FLOAT:
            yield _name(node), f"has a scale of type {_type(scale)}"
        elif not (np.isfinite(_numbers(scale)).all() and (_numbers(scale) > 0).all()):
            yield _name(node), "has a scale that is not positive"


def one_scale_per_activation(model: ir.Model) -> Found:
    """An activation has one scale.

    Source: onnx-tensorrt, "Activations-quantization does not support per-axis quantization".
    """
    for node in _pairs(model):
        if not _is_weight(node) and is_constant(node.inputs[1]) and _numbers(node.inputs[1]).size != 1:
            yield _name(node), f"has {_numbers(node.inputs[1]).size} scales for an activation"


def one_scale_per_channel(model: ir.Model) -> Found:
    """Weights have one scale per output channel, along axis 0.

    Source: NVIDIA's guide (explicit quantization), and onnx-tensorrt, which takes weights for KCRS; of Gemm, axis 0 is
    the output with ``transB``.
    """
    for node in _pairs(model):
        if not _is_weight(node):
            continue
        axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 1
        channels = _numbers(node.inputs[0]).shape[:1]
        if axis != 0 or (is_constant(node.inputs[1]) and _numbers(node.inputs[1]).shape != channels):
            yield _name(node), f"does not have a scale for each of {math.prod(channels)} output channels along axis 0"
    for node in model.graph:
        if node.op_type == "Gemm" and ("transB" not in node.attributes or node.attributes["transB"].as_int() != 1):
            yield _name(node), "has its outputs along axis 1 of the weights: transB is not 1"


def narrow_weights(model: ir.Model) -> Found:
    """INT8 weights lie in -127 to 127.

    Source: NVIDIA's guide: activations from -128, weights from -127.
    """
    for node in _pairs(model):
        if _is_weight(node) and (_numbers(node.inputs[0]) < -127).any():
            yield _name(node), "has a weight of -128"


def pairs_belong_together(model: ir.Model) -> Found:
    """What Q returns is read by DQ alone, with the same scale; DQ reads Q or INT8 weights.

    Source: NVIDIA's guide, processing of Q/DQ networks: TensorRT moves and fuses Q and DQ as pairs.
    """
    for node in _pairs(model):
        if node.op_type == QUANTIZE:
            readers = [use.node for use in node.outputs[0].uses()]
            if not readers or any(reader.op_type != DEQUANTIZE for reader in readers):
                yield _name(node), "is read by something that is no DequantizeLinear"
            elif any(_scale(reader) != _scale(node) for reader in readers):
                yield _name(node), "is dequantized with another scale than it was quantized with"
        elif not _is_weight(node) and _producer(node.inputs[0], QUANTIZE) is None:
            yield _name(node), "reads no QuantizeLinear and no constant"


def both_inputs(model: ir.Model) -> Found:
    """A layer has both its input and its weights behind DQ, or neither.

    Source: NVIDIA's guide, Q/DQ placement: "Quantize all inputs of weighted-operations"; with one of the two, TensorRT
    computes in floats.
    """
    for node in _layers(model):
        activation, weight = (_producer(value, DEQUANTIZE) is not None for value in node.inputs[:2])
        if activation is not weight:
            yield _name(node), f"has only its {'input' if activation else 'weights'} quantized"


def constant_weights(model: ir.Model) -> Found:
    """Weights are constants, or INT8 constants behind DQ.

    Source: onnx-tensorrt, docs/operators.md (a convolution's have to be).
    """
    for node in _layers(model):
        weight = node.inputs[1]
        behind = _producer(weight, DEQUANTIZE)
        if not is_constant(weight) and (behind is None or not _is_weight(behind)):
            yield _name(node), "has weights that are computed"


def float_bias(model: ir.Model) -> Found:
    """A bias is a float constant.

    Source: onnx-tensorrt issue 850: a DequantizeLinear of int32 is refused.
    """
    for node in _layers(model):
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None and (not is_constant(bias) or _type(bias) not in FLOATS):
            yield _name(node), "has a bias that is no float constant"


def quantized_before_norm(model: ir.Model) -> Found:
    """Between a quantized convolution and a LayerNormalization stand Q and DQ.

    Source: NVIDIA/Model-Optimizer pull request 1117: without them TensorRT takes a kernel that returns floats, which
    is slower (i8f16 in place of i8i8).
    """
    for node in model.graph:
        if node.op_type != "LayerNormalization":
            continue
        source = _producer(node.inputs[0])
        while source is not None and source.op_type in MOVES:
            source = _producer(source.inputs[0])
        if source is not None and source.op_type in WEIGHTED and _is_quantized(source):
            yield _name(node), f"reads what {source.name} returns without Q and DQ between them"


def nothing_before_activation(model: ir.Model) -> Found:
    """No Q and DQ between a layer and its activation function.

    Source: NVIDIA's guide, Q/DQ placement: an extra pair there keeps the two from becoming one kernel.
    """
    for node in _layers(model):
        for quantize in _readers(node.outputs[0], (QUANTIZE,)):
            for dequantize in _readers(quantize.outputs[0], (DEQUANTIZE,)):
                if _reaches_curve(dequantize.outputs[0]):
                    yield _name(quantize), f"stands between {node.name} and its activation function"


def float_stem(model: ir.Model) -> Found:
    """A convolution of a picture's three channels is not quantized.

    Source: a published log of TensorRT 10.16 on an Ampere GPU, which found no INT8 kernel for such a first convolution:
    "Could not find any implementation for node".
    """
    for node in _layers(model):
        weight = node.inputs[1]
        if node.op_type != "Conv" or weight is None or weight.shape is None or not _is_quantized(node):
            continue
        group = node.attributes["group"].as_int() if "group" in node.attributes else 1
        channels = group * int(weight.shape.numpy()[1])
        if channels < FEW_CHANNELS:
            yield _name(node), f"is quantized and reads {channels} channels"


def float32_statistics(model: ir.Model) -> Found:
    """Means, sums and roots are computed in float32, LayerNormalization's too (stash_type 1).

    Source: facebookresearch/ConvNeXt-V2 issue 66: GRN in an FP16 engine, which then detects nothing. Its squares
    overflow float16 and its epsilon is zero in it.
    """
    for node in model.graph:
        if node.op_type in REDUCTIONS and node.outputs[0].dtype is not ir.DataType.FLOAT:
            yield _name(node), f"computes {node.op_type} in {node.outputs[0].dtype}"
        stash = node.attributes["stash_type"].as_int() if "stash_type" in node.attributes else 1
        if node.op_type == "LayerNormalization" and stash != 1:
            yield _name(node), f"computes mean and deviation in another type (stash_type {stash})"


def one_float_type(model: ir.Model) -> Found:
    """The operands of a node have the type of its result.

    Source: NVIDIA's guide, strongly typed networks: nothing is converted that the network does not convert.
    """
    for node in model.graph:
        if node.op_type in ("Cast", QUANTIZE, DEQUANTIZE):
            continue
        kinds = {_type(value) for value in (*node.inputs, *node.outputs)}
        if kinds.issuperset(FLOATS):
            yield _name(node), "mixes float32 and float16"


RULES: Mapping[str, Callable[[ir.Model], Found]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        readable_opset,
        standard_operations,
        static_shapes,
        named_nodes,
        float_door,
        three_inputs,
        symmetric,
        signed_bytes,
        constant_scales,
        one_scale_per_activation,
        one_scale_per_channel,
        narrow_weights,
        pairs_belong_together,
        both_inputs,
        constant_weights,
        float_bias,
        quantized_before_norm,
        nothing_before_activation,
        float_stem,
        float32_statistics,
        one_float_type,
    )
}
"""Name -> rule."""


def violations(model: ir.Model) -> tuple[Violation, ...]:
    """Everything in a model that breaks a rule, rule by rule."""
    return tuple(
        Violation(rule=name, node=node, message=message)
        for name, rule in RULES.items()
        for node, message in rule(model)
    )


def hold(model: ir.Model) -> None:
    """Refuses a model that breaks a rule.

    Raises:
        ExportError: With the rule and the node.
    """
    if found := violations(model):
        more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
        raise ExportError(f"the file would break a rule of TensorRT's: {found[0]}{more}")


def check_file(path: Path) -> tuple[str, ...]:
    """What in a file breaks a rule, in words; nothing where it keeps all of them.

    Raises:
        ArtifactError: The file is not an ONNX model.
    """
    from google.protobuf.message import DecodeError

    try:
        model = ir.load(path)
    except (DecodeError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path.name} is not an ONNX model that can be read: {error}") from error
    return tuple(map(str, violations(model)))


def _graph(model: ir.Model) -> str:
    return model.graph.name or "the graph"


def _name(node: ir.Node) -> str:
    return node.name or name_of(node.outputs[0])


def _pairs(model: ir.Model) -> Iterator[ir.Node]:
    return (node for node in model.graph if node.op_type in (QUANTIZE, DEQUANTIZE))


def _layers(model: ir.Model) -> Iterator[ir.Node]:
    return (node for node in model.graph if node.op_type in WEIGHTED)


def _type(value: ir.Value | None) -> ir.DataType | None:
    """A constant's own type; what a file says of its constants beside them may be wrong."""
    if value is None:
        return None
    return value.const_value.dtype if value.const_value is not None else value.dtype


def _is_weight(node: ir.Node) -> bool:
    """Whether this is the DQ of constant weights."""
    return node.op_type == DEQUANTIZE and is_constant(node.inputs[0])


def _is_quantized(node: ir.Node) -> bool:
    return all(_producer(value, DEQUANTIZE) is not None for value in node.inputs[:2])


def _producer(value: ir.Value | None, op_type: str | None = None) -> ir.Node | None:
    node = None if value is None else value.producer()
    return node if node is not None and op_type in (None, node.op_type) else None


def _readers(value: ir.Value, op_types: tuple[str, ...]) -> list[ir.Node]:
    return [use.node for use in value.uses() if use.node.op_type in op_types]


def _reaches_curve(value: ir.Value) -> bool:
    """Whether a chain of pointwise operations on one tensor leads from a value to an activation function's curve."""
    if _readers(value, CURVES):
        return True
    return any(
        _reaches_curve(node.outputs[0])
        for node in _readers(value, POINTWISE)
        if all(v is value or (is_constant(v) and _numbers(v).size == 1) for v in node.inputs)
    )


def _scale(node: ir.Node) -> float:
    value = node.inputs[1]
    return float(_numbers(value).flat[0]) if is_constant(value) and _numbers(value).size == 1 else math.nan


def _numbers(value: ir.Value | None) -> NDArray[Any]:
    if value is None or value.const_value is None:
        raise ExportError(f"{name_of(value)!r} should be a constant and is not")
    return value.const_value.numpy()
