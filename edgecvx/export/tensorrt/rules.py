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

import numpy as np
import onnx_ir as ir

from edgecvx.errors import ArtifactError, ExportError
from edgecvx.export.tensorrt.graph import (
    MOVES,
    is_quantized,
    is_static,
    is_weight,
    label,
    layers,
    pairs,
    reaches_curve,
    scale_of,
    shifts,
    source_of,
    type_of,
)
from edgecvx.graph.qdq import DEQUANTIZE, QUANTIZE
from edgecvx.graph.values import LAYERS, constant_of, is_constant, name_of, producer, readers

FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16)
REDUCTIONS = ("ReduceMean", "ReduceSum", "GlobalAveragePool", "Sqrt")
FEW_CHANNELS = 4
OPSETS = (17, 20)
OPS = frozenset(
    (
        *("Add", "Cast", "Conv", "DequantizeLinear", "Div", "Erf", "Flatten", "Gemm", "GlobalAveragePool"),
        *("LayerNormalization", "Mul", "QuantizeLinear", "ReduceMean", "ReduceSum", "Sigmoid", "Softmax", "Sqrt"),
        *("Tanh", "Transpose"),
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
        yield model.graph.name or "the graph", f"opset {opset} is not from {OPSETS[0]} to {OPSETS[1]}"


def standard_operations(model: ir.Model) -> Found:
    """ONNX's own domain, no functions, and of its operations those we know TensorRT to read.

    Source: onnx-tensorrt, docs/operators.md; QLinearConv, ConvInteger and DynamicQuantizeLinear are among those it does
    not read.
    """
    for function in model.functions.values():
        yield function.name, "is a function of the model"
    for node in model.graph:
        if node.domain not in ("", "ai.onnx") or node.op_type not in OPS:
            yield label(node), f"{node.domain or 'ai.onnx'}.{node.op_type} is not one of the operations in use here"


def one_file(model: ir.Model) -> Found:
    """Constants are in the file itself.

    Source: the file is handed to TensorRT's parser as bytes, which have no folder beside them to read others from.
    """
    for name, value in model.graph.initializers.items():
        if isinstance(value.const_value, ir.ExternalTensor):
            yield name, "is a constant whose numbers are in another file"


def static_shapes(model: ir.Model) -> Found:
    """Every value has a static shape and a type.

    Source: NVIDIA's guide: without, an engine needs an optimization profile, which nothing here would make.
    """
    for value in model.graph.inputs:
        if not is_static(value):
            yield name_of(value), "has no static shape or no type"
    for node in model.graph:
        for value in node.outputs:
            if not is_static(value):
                yield label(node), f"its output {value.name!r} has no static shape or no type"


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
        read_by = {use.node.op_type for use in value.uses()}
        if value.dtype is not ir.DataType.FLOAT and not (value.dtype is ir.DataType.UINT8 and read_by <= {"Cast"}):
            yield name_of(value), f"is an input of type {value.dtype} read by {', '.join(sorted(read_by)) or 'nobody'}"
    for value in model.graph.outputs:
        if value.dtype is not ir.DataType.FLOAT:
            yield name_of(value), f"is an output of type {value.dtype}"


def true_types(model: ir.Model) -> Found:
    """A value has the type that its node really gives, which is float32 or float16, and int8 behind Q alone.

    Source: NVIDIA's guide, strongly typed networks: types are found from operations, not from what is declared; double
    is not among those its layers compute in. Cast, Q and DQ are where a type begins, so the others follow from theirs.
    """
    for node in model.graph:
        kind, given = node.outputs[0].dtype, node.outputs[0].dtype
        if node.op_type == "Cast" and node.attributes.get_int("to", kind) != kind:
            yield label(node), f"casts to another type than {kind}, as which it is declared"
        elif node.op_type == QUANTIZE and len(node.inputs) > 2:
            given = type_of(node.inputs[2])
        elif node.op_type == DEQUANTIZE and len(node.inputs) > 1:
            given = type_of(node.inputs[1])
        if given is not kind:
            yield label(node), f"gives {given} and is declared as {kind}"
        if node.op_type == QUANTIZE and type_of(node.inputs[0]) is not ir.DataType.FLOAT:
            yield label(node), f"reads {type_of(node.inputs[0])} where float32 is wanted"
        if kind not in FLOATS and node.op_type != QUANTIZE:
            yield label(node), f"computes in {kind}"


def three_inputs(model: ir.Model) -> Found:
    """Q and DQ have a scale and a zero point, as many of one as of the other.

    Source: asserted by onnx-tensorrt's QuantDequantLinearHelper; some of its versions refuse a node without zero point.
    """
    for node in pairs(model):
        if len(node.inputs) != 3 or None in node.inputs:
            yield label(node), "has no zero point"
        elif is_constant(node.inputs[1]) and is_constant(node.inputs[2]):
            scale, zero = (constant_of(v) for v in node.inputs[1:3])
            if scale.size != zero.size:
                yield label(node), f"has {scale.size} scales and {zero.size} zero points"


def symmetric(model: ir.Model) -> Found:
    """Every zero point is 0.

    Source: onnx-tensorrt asserts it: "Non-zero zero point is not supported".
    """
    for node in pairs(model):
        if len(node.inputs) == 3 and is_constant(node.inputs[2]) and constant_of(node.inputs[2]).any():
            yield label(node), f"has zero point {int(constant_of(node.inputs[2]).flat[0])}"


def signed_bytes(model: ir.Model) -> Found:
    """Q returns int8 and DQ reads int8.

    Source: the parser takes uint8 for DLA alone, and int32 (a quantized bias) never: "only activation datatypes allowed
    as input to this layer".
    """
    for node in pairs(model):
        value = node.outputs[0] if node.op_type == QUANTIZE else node.inputs[0]
        if type_of(value) is not ir.DataType.INT8:
            yield label(node), f"has {type_of(value)} where INT8 is wanted"


def constant_scales(model: ir.Model) -> Found:
    """Scales are positive float32 constants.

    Source: asserted by the parser. Half scales would take opset 19, and Orin's compiler has failed on such a node
    (NVIDIA/TensorRT issue 4832).
    """
    for node in pairs(model):
        scale = node.inputs[1]
        if not is_constant(scale):
            yield label(node), "has a scale that is no constant"
        elif type_of(scale) is not ir.DataType.FLOAT:
            yield label(node), f"has a scale of type {type_of(scale)}"
        elif not (np.isfinite(constant_of(scale)).all() and (constant_of(scale) > 0).all()):
            yield label(node), "has a scale that is not positive"


def one_scale_per_activation(model: ir.Model) -> Found:
    """An activation has one scale.

    Source: onnx-tensorrt, "Activations-quantization does not support per-axis quantization".
    """
    for node in pairs(model):
        if not is_weight(node) and is_constant(node.inputs[1]) and constant_of(node.inputs[1]).size != 1:
            yield label(node), f"has {constant_of(node.inputs[1]).size} scales for an activation"


def one_scale_per_channel(model: ir.Model) -> Found:
    """Weights have one scale per output channel, along axis 0.

    Source: NVIDIA's guide (explicit quantization), and onnx-tensorrt, which takes weights for KCRS; of Gemm, axis 0 is
    the output with ``transB``.
    """
    for node in pairs(model):
        if not is_weight(node):
            continue
        axis = node.attributes.get_int("axis", 1)
        channels = constant_of(node.inputs[0]).shape[:1]
        if axis != 0 or (is_constant(node.inputs[1]) and constant_of(node.inputs[1]).shape != channels):
            yield label(node), f"does not have a scale for each of {math.prod(channels)} output channels along axis 0"
    for node in model.graph:
        if node.op_type == "Gemm" and node.attributes.get_int("transB", 0) != 1:
            yield label(node), "has its outputs along axis 1 of the weights: transB is not 1"


def narrow_weights(model: ir.Model) -> Found:
    """INT8 weights lie in -127 to 127.

    Source: NVIDIA's guide: activations from -128, weights from -127.
    """
    for node in pairs(model):
        if is_weight(node) and (constant_of(node.inputs[0]) < -127).any():
            yield label(node), "has a weight of -128"


def pairs_belong_together(model: ir.Model) -> Found:
    """What Q returns is read by DQ alone, with the same scale; DQ reads Q or INT8 weights.

    Source: NVIDIA's guide, processing of Q/DQ networks: TensorRT moves and fuses Q and DQ as pairs.
    """
    for node in pairs(model):
        if node.op_type == QUANTIZE:
            read_by = readers(node.outputs[0])
            if not read_by or any(reader.op_type != DEQUANTIZE for reader in read_by):
                yield label(node), "is read by something that is no DequantizeLinear"
            elif any(scale_of(reader) != scale_of(node) for reader in read_by):
                yield label(node), "is dequantized with another scale than it was quantized with"
        elif not is_weight(node) and producer(node.inputs[0], QUANTIZE) is None:
            yield label(node), "reads no QuantizeLinear and no constant"


def both_inputs(model: ir.Model) -> Found:
    """A layer has both its input and its weights behind DQ, or neither.

    Source: NVIDIA's guide, Q/DQ placement: "Quantize all inputs of weighted-operations"; with one of the two, TensorRT
    computes in floats.
    """
    for node in layers(model):
        activation, weight = (producer(value, DEQUANTIZE) is not None for value in node.inputs[:2])
        if activation is not weight:
            yield label(node), f"has only its {'input' if activation else 'weights'} quantized"


def constant_weights(model: ir.Model) -> Found:
    """Weights are constants, or INT8 constants behind DQ.

    Source: onnx-tensorrt, docs/operators.md (a convolution's have to be).
    """
    for node in layers(model):
        weight = node.inputs[1]
        behind = producer(weight, DEQUANTIZE)
        if not is_constant(weight) and (behind is None or not is_weight(behind)):
            yield label(node), "has weights that are computed"


def float_bias(model: ir.Model) -> Found:
    """A bias is a float constant.

    Source: onnx-tensorrt issue 850: a DequantizeLinear of int32 is refused.
    """
    for node in layers(model):
        bias = node.inputs[2] if len(node.inputs) > 2 else None
        if bias is not None and (not is_constant(bias) or type_of(bias) not in FLOATS):
            yield label(node), "has a bias that is no float constant"


def quantized_before_norm(model: ir.Model) -> Found:
    """Between a quantized convolution and a LayerNormalization stand Q and DQ.

    Source: NVIDIA/Model-Optimizer pull request 1117: without them TensorRT takes a kernel that returns floats, which
    is slower (i8f16 in place of i8i8).
    """
    for node in model.graph:
        if node.op_type != "LayerNormalization":
            continue
        source = source_of(node, lambda above: above.op_type in MOVES or shifts(above))
        if source is not None and source.op_type in LAYERS and is_quantized(source):
            yield label(node), f"reads what {source.name} returns without Q and DQ between them"


def nothing_before_activation(model: ir.Model) -> Found:
    """No Q and DQ between a layer and its activation function.

    Source: NVIDIA's guide, Q/DQ placement: an extra pair there keeps the two from becoming one kernel.
    """
    for node in layers(model):
        for quantize in readers(node.outputs[0], (QUANTIZE,)):
            for dequantize in readers(quantize.outputs[0], (DEQUANTIZE,)):
                if reaches_curve(dequantize.outputs[0]):
                    yield label(quantize), f"stands between {node.name} and its activation function"


def float_stem(model: ir.Model) -> Found:
    """A convolution of a picture's three channels is not quantized.

    Source: a published log of TensorRT 10.16 on an Ampere GPU, which found no INT8 kernel for such a first convolution:
    "Could not find any implementation for node".
    """
    for node in layers(model):
        weight = node.inputs[1]
        if node.op_type != "Conv" or weight is None or weight.shape is None or not is_quantized(node):
            continue
        channels = node.attributes.get_int("group", 1) * int(weight.shape.numpy()[1])
        if channels < FEW_CHANNELS:
            yield label(node), f"is quantized and reads {channels} channels"


def float32_statistics(model: ir.Model) -> Found:
    """Means, sums and roots are computed in float32, LayerNormalization's too (stash_type 1).

    Source: facebookresearch/ConvNeXt-V2 issue 66: GRN in an FP16 engine, which then detects nothing. Its squares
    overflow float16 and its epsilon is zero in it.
    """
    for node in model.graph:
        if node.op_type in REDUCTIONS and node.outputs[0].dtype is not ir.DataType.FLOAT:
            yield label(node), f"computes {node.op_type} in {node.outputs[0].dtype}"
        stash = node.attributes.get_int("stash_type", 1)
        if node.op_type == "LayerNormalization" and stash != 1:
            yield label(node), f"computes mean and deviation in another type (stash_type {stash})"
        if node.op_type in ("ReduceMean", "ReduceSum"):
            square = source_of(node, lambda above: above.op_type in MOVES)
            if square is not None and square.op_type == "Mul" and type_of(square.outputs[0]) is ir.DataType.FLOAT16:
                yield label(node), f"sums what {label(square)} multiplied in float16, which overflows before the cast"
        if (
            node.op_type == "Div"
            and type_of(node.outputs[0]) is ir.DataType.FLOAT16
            and not is_constant(node.inputs[1])
        ):
            yield label(node), "divides in float16 by what is computed: an epsilon is zero in it"


def one_float_type(model: ir.Model) -> Found:
    """The operands of a node have the type of its result.

    Source: NVIDIA's guide, strongly typed networks: nothing is converted that the network does not convert.
    """
    for node in model.graph:
        if node.op_type in ("Cast", QUANTIZE, DEQUANTIZE):
            continue
        kinds = {type_of(value) for value in (*node.inputs, *node.outputs)}
        if kinds.issuperset(FLOATS):
            yield label(node), "mixes float32 and float16"


RULES: Mapping[str, Callable[[ir.Model], Found]] = {
    rule.__name__.replace("_", "-"): rule
    for rule in (
        readable_opset,
        standard_operations,
        one_file,
        static_shapes,
        named_nodes,
        float_door,
        true_types,
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
    """Everything in a model that breaks a rule, rule by rule; with numbers in another file, nothing but that."""
    rules = RULES if not any(one_file(model)) else {"one-file": one_file}
    return tuple(
        Violation(rule=name, node=node, message=message)
        for name, rule in rules.items()
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
    import onnx
    from google.protobuf.message import DecodeError

    try:
        onnx.checker.check_model(path)  # what has too few inputs breaks no rule here, it is no model
        model = ir.load(path)
    except (DecodeError, onnx.checker.ValidationError, OSError, ValueError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"{path.name} is not an ONNX model that can be read: {' '.join(str(error).split())[:300]}"
        ) from error
    return tuple(map(str, violations(model)))
