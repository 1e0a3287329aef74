"""What is in a file of the native engine, read without the engine: its operations, and what each one costs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

from edgecvx.export.base import OpInfo
from edgecvx.export.native.description import EXPANSION, Block, Description, Int8Linear, Linear, Norm, Stage
from edgecvx.export.native.parser import read
from edgecvx.export.native.points import outputs_of
from edgecvx.spec import Activation

ACTIVATION_OPS: dict[Activation, str] = {"gelu": "Gelu", "gelu_tanh": "Gelu", "silu": "Silu"}

Shape = tuple[int, ...]


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """The operations of a file, in the order they are executed.

    Raises:
        ArtifactError: The file is missing, or none that the engine could open.
    """
    return tuple(_ops(read(path)))


def _ops(described: Description) -> Iterator[OpInfo]:
    batch, side = described.batch, described.preprocess.size
    for index, layer in enumerate(described.stem):
        side = layer.side(side)
        yield _product("Conv", f"stem.{index}", layer.linear, (batch, side, side, layer.outputs))
    shape = (batch, side, side, described.stages[0].channels)
    yield _norm(f"stem.{len(described.stem)}", described.stem_norm, shape)
    for index, stage in enumerate(described.stages):
        below, side = shape, described.sides[index]
        shape = (batch, side, side, stage.channels)
        yield from _stage(described.activation, f"stages.{index}", stage, below, shape)
    yield from _head(described, shape)


def _stage(activation: Activation, name: str, stage: Stage, below: Shape, shape: Shape) -> Iterator[OpInfo]:
    if stage.downsample is not None:
        yield _norm(f"{name}.downsample.0", stage.downsample.norm, below)
        yield _product("Conv", f"{name}.downsample.1", stage.downsample.linear, shape)
    for number, block in enumerate(stage.blocks):
        yield from _block(activation, f"{name}.blocks.{number}", block, shape)


def _block(activation: Activation, name: str, block: Block, shape: Shape) -> Iterator[OpInfo]:
    inner = (*shape[:-1], EXPANSION * shape[-1])
    constants = block.weights.nbytes + block.bias.nbytes
    yield _op("DepthwiseConv", f"{name}.conv_dw", shape, constants, macs=math.prod(shape[:-1]) * block.weights.size)
    yield _norm(f"{name}.norm", block.norm, shape)
    yield _product("Conv", f"{name}.mlp.fc1", block.fc1, inner)
    yield _op(ACTIVATION_OPS[activation], f"{name}.mlp.act", inner)
    if block.grn is not None:
        yield _op("Grn", f"{name}.mlp.grn", inner, block.grn.gamma.nbytes + block.base.nbytes)
    elif (block.base != 1).any():
        yield _op("Scale", f"{name}.mlp.fc2.smoothed", inner, block.base.nbytes)
    yield _product("Conv", f"{name}.mlp.fc2", block.fc2, shape)
    yield _op("Add", name, shape)


def _head(described: Description, shape: Shape) -> Iterator[OpInfo]:
    if described.head_norm is None:
        return
    pooled = (shape[0], shape[-1])
    yield _op("GlobalAveragePool", "head.global_pool", pooled)
    yield _norm("head.norm", described.head_norm, pooled)
    if described.classifier is not None:
        yield _product("Gemm", "logits", described.classifier, outputs_of(described)[0].shape)


def _norm(name: str, norm: Norm, shape: Shape) -> OpInfo:
    return _op("LayerNorm", name, shape, norm.scale.nbytes + norm.shift.nbytes)


def _product(op: str, name: str, linear: Linear, shape: Shape) -> OpInfo:
    constants, bits = linear.weights.nbytes + linear.bias.nbytes, None
    if isinstance(linear, Int8Linear):
        constants, bits = constants + linear.scales.nbytes, 8
    return _op(op, name, shape, constants, macs=math.prod(shape[:-1]) * linear.weights.size, bits=bits)


def _op(op: str, name: str, shape: Shape, constants: int = 0, *, macs: int = 0, bits: int | None = None) -> OpInfo:
    return OpInfo(op=op, name=name, dtype="float32", shape=shape, const_bytes=constants, macs=macs, bits=bits)
