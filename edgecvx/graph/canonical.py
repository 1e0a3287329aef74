"""The canonical graph: a folded network as ONNX, in a small closed set of ops (``docs/canonical-graph.md``).

The graph is built node by node from the module, not traced: the network is ours, so nothing has to be guessed back
from a trace, every value carries its module's name, and the same weights give the same bytes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnx
import onnx.parser
import onnx_ir as ir
import torch
from torch import nn

from edgecvx.errors import ExportError
from edgecvx.graph.values import shape_of
from edgecvx.graph.writer import Writer, check_onnx
from edgecvx.models.convnext import Block, ConvNeXt, GlobalResponseNorm, LayerNorm2d, Stage
from edgecvx.spec import InputKind, ModelSpec, Task, check_image_size, to_json

DOMAIN = "edgecvx"

FUNCTIONS = (
    """<domain: "edgecvx", opset_import: ["" : 20]>
    LayerNorm2d <epsilon: float> (X) => (Y) {
        axes = Constant <value_ints: ints = [1]> ()
        eps = Constant <value_float: float = @epsilon> ()
        mean = ReduceMean (X, axes)
        centred = Sub (X, mean)
        square = Mul (centred, centred)
        variance = ReduceMean (square, axes)
        shifted = Add (variance, eps)
        deviation = Sqrt (shifted)
        Y = Div (centred, deviation)
    }""",
    *(
        f"""<domain: "edgecvx", opset_import: ["" : 20]>
    {name} <epsilon: float> (X, gamma, base) => (Y) {{
        pixels = Constant <value_ints: ints = [2, 3]> ()
        channels = Constant <value_ints: ints = [1]> ()
        eps = Constant <value_float: float = @epsilon> ()
        square = Mul (X, X)
        energy = {reduce} (square, pixels)
        response = Sqrt (energy)
        mean = ReduceMean (response, channels)
        shifted = Add (mean, eps)
        normalized = Div (response, shifted)
        weighted = Mul (normalized, gamma)
        factor = Add (weighted, base)
        Y = Mul (X, factor)
    }}"""
        for name, reduce in (("Grn", "ReduceMean"), ("GrnL2", "ReduceSum"))
    ),
)
"""The functions a canonical model carries, in ONNX's own text form."""

OPS = frozenset(
    {("", op) for op in ["Cast", "Conv", "Gelu", "Sigmoid", "Mul", "Add", "GlobalAveragePool", "Flatten", "Gemm"]}
    | {("", "Softmax")}
    | {(DOMAIN, op) for op in ("LayerNorm2d", "Grn", "GrnL2")}
)
"""Every op a lowering can meet in a float graph, as (domain, name)."""

QUANTIZED_OPS = OPS | {("", "QuantizeLinear"), ("", "DequantizeLinear")}
"""And in a quantized one (``edgecvx.quantize.insert``)."""


def build_canonical(
    module: ConvNeXt,
    *,
    task: Task = Task.CLASSIFY,
    image_size: int = 224,
    batch: int = 1,
    input_kind: InputKind = InputKind.FLOAT,
    metadata: dict[str, str] | None = None,
) -> ir.Model:
    """Writes a network as a canonical graph.

    Args:
        module: The network, usually folded. With ``input_kind`` uint8 it must already take bytes
            (``fold_uint8_input``).
        task: What the graph returns.
        image_size: Height and width of the input.
        batch: Pictures per run.
        input_kind: Whether the input is bytes, which a Cast takes to floats.
        metadata: Kept in the model's ``metadata_props``.

    Raises:
        ExportError: The network has no classifier for ``classify``.
        UsageError: The image size does not fit the network's stride.
    """
    check_image_size(image_size)
    if batch < 1:
        raise ExportError(f"batch {batch} does not work: it must be at least 1")
    builder = _Builder()
    shape = (batch, 3, image_size, image_size)
    image = ir.Value(
        name="image",
        shape=ir.Shape(shape),
        type=ir.TensorType(ir.DataType.UINT8 if input_kind is InputKind.UINT8 else ir.DataType.FLOAT),
    )
    x = image
    if input_kind is InputKind.UINT8:
        x = builder.op("Cast", [image], {"to": int(ir.DataType.FLOAT)}, name="image.float", shape=shape)
    maps = _network(builder, module, x)
    outputs = _head(builder, module, maps, task)
    functions = [ir.serde.deserialize_function(onnx.parser.parse_function(text)) for text in FUNCTIONS]
    model = builder.model(image, outputs, metadata or {}, functions=functions)
    check_canonical(model)
    return model


def check_canonical(model: ir.Model, *, ops: frozenset[tuple[str, str]] = OPS) -> None:
    """Refuses a graph that is not canonical, or that ONNX's own checker refuses.

    Args:
        model: The graph.
        ops: What it may consist of: ``OPS``, or ``QUANTIZED_OPS``.

    Raises:
        ExportError: With the first node, value or rule that is off.
    """
    for node in model.graph:
        if (node.domain, node.op_type) not in ops:
            raise ExportError(
                f"{node.name}: {node.domain or 'ai.onnx'}.{node.op_type} is not an op of the canonical graph"
            )
        for value in node.outputs:
            if value.shape is None or not value.shape.is_static():
                raise ExportError(f"{node.name}: output {value.name!r} has no static shape")
    for name, value in model.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or not np.isfinite(tensor.numpy()).all():
            raise ExportError(f"constant {name!r} holds NaN or infinite values; the checkpoint is damaged")
    check_onnx(model, "canonical")


def metadata_of(spec: ModelSpec, task: Task) -> dict[str, str]:
    """What travels inside a file: the model's name, task, preprocessing, labels and licence."""
    props = {
        "edgecvx.model": spec.name,
        "edgecvx.task": task.value,
        "edgecvx.preprocess": json.dumps(to_json(spec.preprocess), sort_keys=True),
    }
    if spec.labels is not None and task is Task.CLASSIFY:
        props["edgecvx.labels"] = json.dumps(list(spec.labels), ensure_ascii=False)
    if spec.weights.license is not None:
        props["edgecvx.license"] = spec.weights.license
    return props


class _Builder(Writer):
    """Writes the parameters of a module; a node's output carries the node's name."""

    def parameter(self, name: str, tensor: torch.Tensor) -> ir.Value:
        return self.constant(name, tensor.detach().cpu().numpy().astype(np.float32, copy=False))

    def bias(self, name: str, layer: nn.Conv2d | nn.Linear) -> list[ir.Value]:
        """The bias of a layer, or nothing where it is absent or all zero."""
        if layer.bias is None or not torch.any(layer.bias != 0):
            return []
        return [self.parameter(f"{name}.bias", layer.bias)]

    def channelwise(self, name: str, array: torch.Tensor) -> ir.Value:
        return self.parameter(name, array.reshape(1, -1, 1, 1))


def _network(b: _Builder, module: ConvNeXt, x: ir.Value) -> list[ir.Value]:
    """The stem and the stages; returns the four stage maps."""
    for index, layer in enumerate(module.stem):
        name = f"stem.{index}"
        x = _conv(b, name, layer, x) if isinstance(layer, nn.Conv2d) else _norm(b, name, layer, x)
    maps = []
    for i, stage in enumerate(module.stages):
        if not isinstance(stage, Stage):
            raise ExportError(f"stages.{i} is a {type(stage).__name__}, not a stage of this network")
        if stage.downsample is not None:
            x = _norm(b, f"stages.{i}.downsample.0", stage.downsample[0], x)
            x = _conv(b, f"stages.{i}.downsample.1", stage.downsample[1], x)
        for j, block in enumerate(stage.blocks):
            x = _block(b, f"stages.{i}.blocks.{j}", block, x)
        maps.append(x)
    return maps


def _head(b: _Builder, module: ConvNeXt, maps: list[ir.Value], task: Task) -> list[ir.Value]:
    if task is Task.FEATURES:
        for i, value in enumerate(maps):
            value.name = f"feature{i}"  # the node keeps the module's name
        return maps
    batch, channels = shape_of(maps[-1])[:2]
    x = b.op("GlobalAveragePool", [maps[-1]], name="head.global_pool", shape=(batch, channels, 1, 1))
    x = _norm(b, "head.norm", module.head.norm, x)
    if task is Task.EMBED:
        return [b.op("Flatten", [x], {"axis": 1}, name="embedding", shape=(batch, channels))]
    fc = module.head.fc
    if fc is None:
        raise ExportError(
            f"{module.arch.name}: this checkpoint has no classifier; export it with --task features or --task embed"
        )
    x = b.op("Flatten", [x], {"axis": 1}, name="head.flatten", shape=(batch, channels))
    inputs = [x, b.parameter("head.fc.weight", fc.weight), *b.bias("head.fc", fc)]
    attributes = {"transB": 1, "alpha": 1.0, "beta": 1.0}
    return [b.op("Gemm", inputs, attributes, name="logits", shape=(batch, fc.out_features))]


def _block(b: _Builder, name: str, block: nn.Module, x: ir.Value) -> ir.Value:
    if not isinstance(block, Block):
        raise ExportError(f"{name} is a {type(block).__name__}, not a block of this network")
    y = _conv(b, f"{name}.conv_dw", block.conv_dw, x)
    y = _norm(b, f"{name}.norm", block.norm, y)
    y = _conv(b, f"{name}.mlp.fc1", block.mlp.fc1, y)
    y = _activation(b, f"{name}.mlp.act", block.mlp.act, y)
    if block.mlp.grn is not None:
        y = _grn(b, f"{name}.mlp.grn", block.mlp.grn, y)
    y = _conv(b, f"{name}.mlp.fc2", block.mlp.fc2, y)
    if block.gamma is not None:
        scale = b.channelwise(f"{name}.gamma", block.gamma)
        y = b.op("Mul", [y, scale], name=f"{name}.scaled", shape=shape_of(y))
    return b.op("Add", [x, y], name=name, shape=shape_of(x))


def _conv(b: _Builder, name: str, conv: nn.Module, x: ir.Value) -> ir.Value:
    if not isinstance(conv, nn.Conv2d) or not isinstance(conv.padding, tuple):
        raise ExportError(f"{name} is not a convolution with explicit padding")
    batch, _, height, width = shape_of(x)
    (kh, kw), (sh, sw), (ph, pw) = conv.kernel_size, conv.stride, conv.padding
    attributes: dict[str, int | float | str | Sequence[int]] = {
        "kernel_shape": [kh, kw],
        "strides": [sh, sw],
        "pads": [int(ph), int(pw), int(ph), int(pw)],
        "dilations": [1, 1],
        "group": conv.groups,
    }
    out = (height + 2 * int(ph) - kh) // sh + 1, (width + 2 * int(pw) - kw) // sw + 1
    inputs = [x, b.parameter(f"{name}.weight", conv.weight), *b.bias(name, conv)]
    return b.op("Conv", inputs, attributes, name=name, shape=(batch, conv.out_channels, *out))


def _norm(b: _Builder, name: str, norm: nn.Module, x: ir.Value) -> ir.Value:
    if not isinstance(norm, LayerNorm2d):
        raise ExportError(f"{name} is a {type(norm).__name__}, not a LayerNorm2d")
    affine = norm.weight is not None or norm.bias is not None
    y = b.op(
        "LayerNorm2d",
        [x],
        {"epsilon": float(norm.eps)},
        name=f"{name}.normalized" if affine else name,
        shape=shape_of(x),
        domain=DOMAIN,
    )
    if norm.weight is not None:
        last = norm.bias is None
        scale = b.channelwise(f"{name}.weight", norm.weight)
        y = b.op("Mul", [y, scale], name=name if last else f"{name}.scaled", shape=shape_of(x))
    if norm.bias is not None:
        y = b.op("Add", [y, b.channelwise(f"{name}.bias", norm.bias)], name=name, shape=shape_of(x))
    return y


def _grn(b: _Builder, name: str, grn: GlobalResponseNorm, x: ir.Value) -> ir.Value:
    _, _, height, width = shape_of(x)
    rms = grn.form == "rms"
    beta = grn.bias
    y = b.op(
        "Grn" if rms else "GrnL2",
        [x, b.channelwise(f"{name}.gamma", grn.weight), b.channelwise(f"{name}.base", grn.base)],
        {"epsilon": float(grn.eps / (height * width) ** 0.5 if rms else grn.eps)},
        name=name if beta is None else f"{name}.scaled",
        shape=shape_of(x),
        domain=DOMAIN,
    )
    if beta is not None:
        y = b.op("Add", [y, b.channelwise(f"{name}.bias", beta)], name=name, shape=shape_of(x))
    return y


def _activation(b: _Builder, name: str, act: str, x: ir.Value) -> ir.Value:
    if act == "silu":
        gate = b.op("Sigmoid", [x], name=f"{name}.gate", shape=shape_of(x))
        return b.op("Mul", [x, gate], name=name, shape=shape_of(x))
    return b.op("Gelu", [x], {"approximate": "tanh" if act == "gelu_tanh" else "none"}, name=name, shape=shape_of(x))
