"""A search's result, made up: every state a file can be in, on one device."""

from __future__ import annotations

from edgecvx.results.accuracy import Interval
from edgecvx.tune.report.values import (
    Account,
    DeviceResult,
    Ending,
    Miss,
    NextLimit,
    Part,
    Row,
    StageCost,
    State,
    Tuned,
)


def row(name: str, state: State, *, ms: float | None = 5.0, top1: float | None = 0.94, why: str = "because") -> Row:
    """A row of a file at 192 px."""
    measured = ms is not None and top1 is not None
    return Row(
        name=name,
        model="femto",
        size=192,
        target="onnx",
        precision="int8",
        threads=None,
        decisions={},
        state=state,
        why=why,
        bytes=5_000_000 if measured else None,
        predicted_ms=5.5,
        predicted_top1=0.93,
        ms=ms,
        ms_interval=Interval(low=ms * 0.99, high=ms * 1.01) if measured and ms else None,
        top1=top1,
        change=-0.002 if measured else None,
        change_interval=Interval(low=-0.006, high=0.002) if measured else None,
        pictures=1024 if measured else 0,
        rounds=40 if measured else 0,
        peak_bytes=None,
        sha256="ab" * 32 if measured else None,
    )


def tuned(*rows: Row, ending: Ending | None = None) -> Tuned:
    """A search with these rows, or one of each state."""
    found = rows or (
        row("femto 192 onnx int8", "ship"),
        row("femto 192 onnx int8-dynamic", "tied", ms=5.02),
        row("femto 192 onnx fp32", "kept", ms=9.0, top1=0.942),
        row("femto 192 <script>alert(1)</script>", "breaks", ms=4.0, top1=0.8),
        row("femto 224 onnx int8", "predicted", ms=None, top1=None),
        row("femto 256 onnx fp32", "dropped", ms=None, top1=None, why="its weights alone are 20 MB"),
    )
    decided = Ending(kind="decided", sentence="Ship femto 192 onnx int8: 5.00 ms.", file="femto 192 onnx int8")
    device = DeviceResult(
        device="local",
        what="a board, 4 processors",
        ending=ending or decided,
        shipped="ship/femto.onnx",
        rows=found,
        misses=(Miss(name=found[0].name, predicted_ms=5.5, ms=5.0, off=-0.0909, mended=True),),
        accounts=(
            Account(
                of="femto 192 onnx int8",
                base_ms=9.0,
                parts=(
                    Part(decision="stages.2.blocks.1.mlp", option="int8", ms=-0.4, energy=0.2, chosen=True),
                    Part(decision="stages.2.blocks.1.depthwise", option="int8", ms=0.1, energy=0.6, chosen=False),
                ),
            ),
        ),
        next_limits=(
            NextLimit(limit="max_p50", value=9.0, file="femto 192 onnx fp32", sentence="A limit of 9 ms allows it."),
        ),
    )
    return Tuned(
        edgecvx="0.1.0",
        models=("femto",),
        targets=("onnx",),
        sizes=(192, 224, 256),
        limits={"max_drop": 1.0, "max_p50": 8.0},
        objective="most right",
        data="demo",
        pictures=4000,
        candidates=12,
        devices=(device,),
        stages=(StageCost(name="bounds", what="12 files could be written", seconds=0.1),),
        warnings=("random weights",),
    )
