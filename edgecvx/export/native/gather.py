"""From a quantized graph to a description: the network is found by its canonical names, and held to its structure.

Each layer has to read what the structure says, with nothing in between that the engine does not have; so what is
gathered is the graph, or is refused.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecvx.errors import ExportError
from edgecvx.export.native.description import (
    Block,
    Description,
    Downsample,
    Floats,
    Grn,
    Int8Linear,
    Linear,
    Norm,
    Stage,
    StemConvolution,
)
from edgecvx.export.native.layers import (
    OTHER_SCHEME,
    affine_of,
    depthwise_of,
    linear_of,
    norm_of,
    scaled,
    there,
    window_of,
)
from edgecvx.graph.grids import BYTES, SMALLEST_SCALE
from edgecvx.graph.scheme import ACTIVATION_REACH
from edgecvx.graph.values import array_of, name_of, number, producer, shape_of
from edgecvx.spec import Activation, InputKind, PreprocessSpec, Task, from_json

POOL = "GlobalAveragePool"


def gather(graph: ir.Model) -> Description:
    """What a file says of a quantized graph, without inner tensors to return.

    Raises:
        ExportError: The graph holds what the engine does not have.
        EdgecvxError: A size is beyond the engine's.
    """
    return _Network(graph).described()


class _Network:
    """The nodes of one graph by the names of the modules they come from."""

    def __init__(self, graph: ir.Model) -> None:
        self._graph = graph
        self._nodes = {str(node.name): node for node in graph.graph}
        self._activations: dict[Activation, None] = {}

    def described(self) -> Description:
        image, task = self._graph.graph.inputs[0], _task(self._graph)
        stem, stem_norm, x = self._stem()
        stages: list[Stage] = []
        while f"stages.{len(stages)}.blocks.0" in self._nodes:
            stage, x = self._stage(len(stages), x)
            stages.append(stage)
        head_norm, classifier = self._head(task, x)
        if len(self._activations) != 1:
            raise ExportError(
                f"the network has the activation functions {', '.join(self._activations)}, and may have one"
            )
        properties = self._graph.metadata_props
        batch, _, height, _ = shape_of(image)
        return Description(
            name=properties.get("edgecvx.model", ""),
            license=properties.get("edgecvx.license", ""),
            task=task,
            input_kind=InputKind.UINT8 if image.dtype is ir.DataType.UINT8 else InputKind.FLOAT,
            batch=batch,
            classes=0 if classifier is None else len(classifier.bias),
            labels=tuple(json.loads(properties.get("edgecvx.labels", "[]"))) if task is Task.CLASSIFY else (),
            preprocess=_preprocess(properties, height),
            activation=next(iter(self._activations)),
            stem=stem,
            stem_norm=stem_norm,
            stages=tuple(stages),
            head_norm=head_norm,
            classifier=classifier,
        )

    def _node(self, name: str, op_type: str) -> ir.Node:
        node = self._nodes.get(name)
        if node is None or node.op_type != op_type:
            raise ExportError(f"the graph has no {op_type} called {name}")
        return node

    def _stem(self) -> tuple[tuple[StemConvolution, ...], Norm, ir.Value]:
        x = self._graph.graph.inputs[0]
        if (cast := self._nodes.get("image.float")) is not None:
            x = cast.outputs[0]
        layers: list[StemConvolution] = []
        while (node := self._nodes.get(f"stem.{len(layers)}")) is not None and node.op_type == "Conv":
            layer, before = self._stem_convolution(node)
            if layers:  # what scales its input scales what the one before it returns
                behind = affine_of(before)
                layers[-1] = replace(layers[-1], linear=scaled(layers[-1].linear, behind))
                before = behind.source
            _same(name_of(node.outputs[0]), before, x)
            layers.append(layer)
            x = node.outputs[0]
        last = self._nodes[f"stem.{len(layers)}"].outputs[0]
        norm, before = norm_of(last)
        _same(name_of(last), before, x)
        return tuple(layers), norm, last

    def _stem_convolution(self, node: ir.Node) -> tuple[StemConvolution, ir.Value]:
        linear, before = linear_of(node)
        bytes_in = producer(before, "Cast") is not None
        if bytes_in and isinstance(linear, Int8Linear) and (linear.scale, linear.zero_point) != (1.0, BYTES.zero_point):
            raise ExportError(f"{name_of(node.outputs[0])} reads bytes on another grid than their own: {OTHER_SCHEME}")
        kernel, stride, pad = window_of(node)
        outputs, inputs = shape_of(node.outputs[0])[1], shape_of(before)[1]
        layer = StemConvolution(outputs=outputs, inputs=inputs, kernel=kernel, stride=stride, pad=pad, linear=linear)
        return layer, before

    def _stage(self, index: int, x: ir.Value) -> tuple[Stage, ir.Value]:
        name, downsample = f"stages.{index}", None
        blocks: list[Block] = []
        kernels: set[int] = set()
        if index:
            node = self._node(f"{name}.downsample.1", "Conv")
            if window_of(node) != (2, 2, 0):
                raise ExportError(f"{name}.downsample.1 is no 2x2 convolution with stride 2")
            linear, before = linear_of(node)
            norm, before = norm_of(before)
            _same(f"{name}.downsample.0", before, x)
            downsample, x = Downsample(norm=norm, linear=linear), node.outputs[0]
        while f"{name}.blocks.{len(blocks)}" in self._nodes:
            block, kernel, x = self._block(f"{name}.blocks.{len(blocks)}", x)
            blocks.append(block)
            kernels.add(kernel)
        if len(kernels) != 1:
            raise ExportError(f"the depthwise convolutions of {name} have kernels of different sizes")
        return Stage(channels=shape_of(x)[1], kernel=kernels.pop(), downsample=downsample, blocks=tuple(blocks)), x

    def _block(self, name: str, x: ir.Value) -> tuple[Block, int, ir.Value]:
        depthwise = self._node(f"{name}.conv_dw", "Conv")
        weights, bias, kernel = depthwise_of(depthwise)
        _same(f"{name}.conv_dw", depthwise.inputs[0], x)
        first = self._node(f"{name}.mlp.fc1", "Conv")
        fc1, before = linear_of(first)
        norm, before = norm_of(before)
        _same(f"{name}.norm", before, depthwise.outputs[0])
        second = self._node(f"{name}.mlp.fc2", "Conv")
        fc2, before = linear_of(second)
        grn, base, before = _grn(before)
        high = self._activation(before, first.outputs[0])
        total = self._node(name, "Add")
        behind = affine_of(total.inputs[1])
        _same(name, total.inputs[0], x)
        _same(name, behind.source, second.outputs[0])
        block = Block(
            weights=weights,
            bias=bias,
            norm=norm,
            fc1=fc1,
            high=high,
            grn=grn,
            base=base,
            fc2=scaled(fc2, behind),
        )
        return block, kernel, total.outputs[0]

    def _activation(self, value: ir.Value, x: ir.Value) -> float:
        """Notes the activation function that makes a value out of ``x``; how far it reached."""
        node = producer(value)
        if node is not None and node.op_type == "Gelu":
            kind: Activation = "gelu_tanh" if node.attributes["approximate"].as_string() == "tanh" else "gelu"
        elif node is not None and node.op_type == "Mul" and producer(node.inputs[1], "Sigmoid") is not None:
            kind = "silu"
        else:
            raise ExportError(f"{name_of(value)!r} is read where an activation function belongs: {OTHER_SCHEME}")
        _same(name_of(value), node.inputs[0], x)
        self._activations[kind] = None
        if ACTIVATION_REACH not in node.metadata_props:
            raise ExportError(
                f"the graph does not say how far {name_of(value)} reached when calibrated: {OTHER_SCHEME}"
            )
        return max(float(node.metadata_props[ACTIVATION_REACH]), SMALLEST_SCALE)

    def _head(self, task: Task, x: ir.Value) -> tuple[Norm | None, Linear | None]:
        if task is Task.FEATURES:
            return None, None
        classifier: Linear | None = None
        before = self._graph.graph.outputs[0]
        if task is Task.CLASSIFY:
            classifier, before = linear_of(self._node("logits", "Gemm"))
        norm, before = norm_of(before)
        pool = self._node("head.global_pool", POOL)
        _same("head.norm", before, pool.outputs[0])
        _same("head.global_pool", pool.inputs[0], x)
        return norm, classifier


def _grn(value: ir.Value | None) -> tuple[Grn | None, Floats, ir.Value]:
    """GRN with what scales it behind, or a factor per channel where there is none; and what it reads."""
    behind = affine_of(value)
    node = producer(behind.source)
    if behind.shifts:
        raise ExportError(
            f"{name_of(value)} still has a bias of GRN's, which the native engine has no place for: "
            "leave the fold grn-beta on"
        )
    if node is None or node.op_type not in ("Grn", "GrnL2"):
        return None, np.asarray(behind.scale, np.float32), behind.source
    x, gamma, base = node.inputs
    gammas, bases = (np.asarray(array_of(c).reshape(-1) * behind.scale, np.float32) for c in (gamma, base))
    epsilon = number(node, "epsilon")
    if node.op_type == "GrnL2":  # identity 3: a mean of squares in place of their sum
        epsilon /= math.sqrt(math.prod(shape_of(x)[2:]))
    return Grn(epsilon=epsilon, gamma=gammas), bases, there(x)


def _same(reader: str, found: ir.Value | None, wanted: ir.Value) -> None:
    if found is not wanted:
        raise ExportError(f"{reader} reads {name_of(found)!r} in place of {name_of(wanted)!r}: {OTHER_SCHEME}")


def _task(graph: ir.Model) -> Task:
    first = name_of(graph.graph.outputs[0])
    return {"logits": Task.CLASSIFY, "embedding": Task.EMBED}.get(first, Task.FEATURES)


def _preprocess(properties: Mapping[str, str], size: int) -> PreprocessSpec:
    """The engine prepares pictures itself, so a file without it would be of no use."""
    if "edgecvx.preprocess" not in properties:
        raise ExportError("the graph does not say how pictures are prepared for it (edgecvx.preprocess)")
    data: Any = json.loads(properties["edgecvx.preprocess"])
    found = from_json(PreprocessSpec, data, where="edgecvx.preprocess")
    if found.size != size:
        raise ExportError(f"the graph takes {size} pixels, and pictures are prepared for {found.size}")
    return found
