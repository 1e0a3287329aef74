"""What a file of the native engine takes and returns, and the inner tensors the engine can return too."""

from __future__ import annotations

from collections.abc import Mapping

from edgecvx.export.native.description import EXPANSION, Description, Point, Tap
from edgecvx.spec import InputKind, Task, TensorSpec


def input_of(described: Description) -> TensorSpec:
    """The picture, channels last."""
    kind, size = described.input_kind, described.preprocess.size
    return TensorSpec(
        name="image",
        shape=(described.batch, size, size, 3),
        dtype="uint8" if kind is InputKind.UINT8 else "float32",
        layout="NHWC",
    )


def outputs_of(described: Description) -> tuple[TensorSpec, ...]:
    """The task's outputs, and behind them the taps."""
    return (*_task_outputs(described), *(spec_of(described, tap) for tap in described.taps))


def spec_of(described: Description, tap: Tap) -> TensorSpec:
    """An inner tensor: a map, channels last."""
    stage = described.stages[tap.stage]
    channels = EXPANSION * stage.channels if tap.point is Point.ACTIVATION else stage.channels
    side = described.sides[tap.stage]
    return TensorSpec(name=tap.name, shape=(described.batch, side, side, channels), dtype="float32", layout="NHWC")


def inner_taps(described: Description) -> Mapping[str, Tap]:
    """Every inner tensor by its canonical name, in the order of the network; the task's outputs are none of them."""
    taps = [Tap(name=f"stem.{len(described.stem)}", point=Point.STEM)]
    for index, stage in enumerate(described.stages):
        if stage.downsample is not None:
            taps.append(Tap(name=f"stages.{index}.downsample.1", point=Point.DOWNSAMPLE, stage=index))
        for number in range(len(stage.blocks)):
            name = f"stages.{index}.blocks.{number}"
            taps.append(Tap(name=f"{name}.conv_dw", point=Point.DEPTHWISE, stage=index, block=number))
            taps.append(Tap(name=f"{name}.mlp.act", point=Point.ACTIVATION, stage=index, block=number))
            if described.task is not Task.FEATURES or number + 1 < len(stage.blocks):  # the last one is an output
                taps.append(Tap(name=name, point=Point.BLOCK, stage=index, block=number))
    return {tap.name: tap for tap in taps}


def _task_outputs(described: Description) -> tuple[TensorSpec, ...]:
    batch, stages = described.batch, described.stages
    if described.task is Task.FEATURES:
        return tuple(
            TensorSpec(
                name=f"feature{index}", shape=(batch, side, side, stage.channels), dtype="float32", layout="NHWC"
            )
            for index, (stage, side) in enumerate(zip(stages, described.sides, strict=True))
        )
    name, width = ("embedding", stages[-1].channels) if described.task is Task.EMBED else ("logits", described.classes)
    return (TensorSpec(name=name, shape=(batch, width), dtype="float32", layout="NC"),)
