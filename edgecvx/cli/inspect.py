"""``edgecvx inspect``: what is in an artifact, and how a checkpoint's tensors look to INT8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show
from edgecvx.errors import UsageError
from edgecvx.results.figures import megabytes
from edgecvx.spec import CALIBRATION_PICTURES, to_json

if TYPE_CHECKING:
    from edgecvx.inspection.artifact import Inspection, OpGroup
    from edgecvx.inspection.checkpoint import Examination
    from edgecvx.manifest import Quantized


def inspect(
    artifact: Annotated[
        str,
        typer.Argument(
            metavar="ARTIFACT|CHECKPOINT",
            help="A file edgecvx export wrote; with --statistics what it takes as MODEL.",
        ),
    ],
    gpu_delegate: Annotated[
        bool, typer.Option("--gpu-delegate", help="Ask TensorFlow whether TFLite's GPU delegate would take the file.")
    ] = False,
    statistics: Annotated[
        bool,
        typer.Option("--statistics", help="Look at a checkpoint before any export: what INT8 leaves of its tensors."),
    ] = False,
    weights: Annotated[
        str | None,
        typer.Option(
            metavar="auto|imagenet|demo|random|FILE",
            help="--statistics: which weights a named model gets (default auto).",
            show_default=False,
        ),
    ] = None,
    image_size: Annotated[
        int | None,
        typer.Option(metavar="N", help="--statistics: height and width of the input; the checkpoint's by default."),
    ] = None,
    calib: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|demo",
            help="--statistics: a folder of pictures like those the network will see, or drawn ones (default demo).",
        ),
    ] = None,
    calib_samples: Annotated[
        int | None,
        typer.Option(metavar="N", help=f"--statistics: how many of them (default {CALIBRATION_PICTURES // 2})."),
    ] = None,
    as_json: show.AsJson = False,
) -> None:
    """Show what is in an artifact: where it came from, how it was proved, and its ops as the file has them.

    With --statistics show how a checkpoint's tensors look to INT8, and what of them an export would keep float.
    """
    options = {"weights": weights, "image_size": image_size, "calib": calib, "calib_samples": calib_samples}
    given = {name: value for name, value in options.items() if value is not None}
    if statistics:
        if gpu_delegate:
            raise UsageError("--gpu-delegate asks about a .tflite file, --statistics about a checkpoint: leave one out")
        _show_statistics(artifact, given, as_json)
        return
    if given:
        named = ", ".join(f"--{name.replace('_', '-')}" for name in given)
        raise UsageError(f"{named}: only --statistics asks for that, an artifact brings its weights and scales")
    _show_artifact(Path(artifact), gpu_delegate, as_json)


def _show_artifact(artifact: Path, gpu_delegate: bool, as_json: bool) -> None:
    """What is in a file."""
    from edgecvx.inspection.artifact import held
    from edgecvx.inspection.artifact import inspect as look
    from edgecvx.inspection.gpu_delegate import gpu_opinion

    found = look(artifact)
    if gpu_delegate and found.manifest.format != "tflite":
        raise UsageError(f"{found.path.name} is no .tflite file: only those have a GPU delegate")
    opinion = gpu_opinion(found.path) if gpu_delegate else None
    memory = held(found)
    if as_json:
        show.json_object(
            {
                "path": str(found.path),
                "manifest": to_json(found.manifest),
                "ops": [_op_json(group) for group in found.groups],
                "bytes": found.total_bytes,
                "macs": found.macs,
                **({"int8_share": found.integer_share} if found.manifest.quantized else {}),
                **({"gpu_delegate": to_json(opinion)} if opinion else {}),
                **({} if found.rules_broken is None else {"rules_broken": list(found.rules_broken)}),
                **({} if found.pairs is None else {"pairs": to_json(found.pairs)}),
                **({} if memory is None else {"memory": dict(memory)}),
            }
        )
        return
    show.out.print(_manifest_table(found, memory))
    show.out.print(_ops_table(found))
    for op, reason in found.manifest.kept_float.items():
        show.out.print(f"[bold]{escape(op)}[/] stays in higher precision: {escape(reason)}", highlight=False)
    if opinion is not None:
        text = "would take this file" if opinion.compatible else "would not: " + "; ".join(opinion.reasons)
        show.out.print(f"[bold]GPU delegate[/] {escape(text)}, says TensorFlow's Analyzer; a phone may differ")


def _manifest_table(found: Inspection, memory: Mapping[str, int] | None) -> Table:
    """The facts of a manifest."""
    m = found.manifest
    check, pre, processor = m.self_check, m.model.preprocess, m.proof.processor
    table = Table(show_header=False, title=escape(found.path.name), **show.PLAIN)
    rows = {
        "model": f"{m.model.name}, {m.model.num_classes} classes" + (", labelled" if m.model.labels else ""),
        "weights": f"{m.model.weights.kind} {m.model.weights.ref} ({m.model.weights.layout} layout)",
        "licence": m.model.weights.license or "unknown",
        "task": m.task.value,
        "target": f"{m.target} ({m.runtime})",
        "precision": m.precision.value,
        "input": f"{m.input.name} {m.input.dtype} {list(m.input.shape)} {m.input.layout} {pre.color}",
        "preprocess": f"{pre.resize} to {pre.resized}, crop {pre.size}, {pre.interpolation}",
        "normalize": f"mean {pre.mean}, std {pre.std}",
        "outputs": ", ".join(f"{o.name} {o.dtype} {list(o.shape)} {o.layout}" for o in m.outputs),
        "folds": ", ".join(m.folds) or "none",
        "passes": ", ".join(m.passes) or "none",
        "self-check": f"error {check.max_error:.1e} of {check.limit:g} allowed, cosine {check.cosine:.6f}, against "
        + ("its plan" if check.against == "plan" else "FP32 PyTorch"),
        "checked in": check.runtime,
        "checked on": f"{processor.name or processor.machine} ({processor.kind or 'unknown class'})",
        **({} if found.rules_broken is None else {"rules": "; ".join(found.rules_broken) or "all kept"}),
        "files": f"{len(m.files)}, {megabytes(found.total_bytes)}, SHA-256 verified",
        **({} if memory is None else {"memory": _memory(memory)}),
        **({} if m.quantized is None else _quantized_rows(found, m.quantized)),
        "written by": ", ".join(f"{name} {version}" for name, version in m.tools.items()),
    }
    for key, value in rows.items():
        table.add_row(key, escape(value))
    if check.note:
        table.add_row("", escape(check.note), style="dim")
    return table


def _memory(memory: Mapping[str, int]) -> str:
    """What a runtime holds, in words."""
    parts = ", ".join(f"{what} {megabytes(size)}" for what, size in memory.items())
    return f"{megabytes(sum(memory.values()))} with one thread: {parts}"


def _quantized_rows(found: Inspection, quantized: Quantized) -> dict[str, str]:
    """How an INT8 file was made, and what of it is INT8."""
    rows = {
        "int8": f"{found.integer_share:.1%} of the multiply-accumulates; weights and all else take "
        f"{found.network_bytes / quantized.fp32_bytes:.2f} of the float32 weights' size",
        "scheme": "; ".join(f"{what}: {how}" for what, how in quantized.scheme.items()),
        **({} if found.pairs is None else {"pairs of weights": str(found.pairs)}),
        "scales by": quantized.engine,
    }
    if (c := quantized.calibration) is not None:
        halves = "" if quantized.agreement is None else f"; two halves of them agree within {quantized.agreement:.2f}"
        rows["calibrated on"] = f"{c.in_words}{halves}"
    if quantized.cosine is not None:
        sqnr = "" if quantized.sqnr is None else f", {quantized.sqnr:g} dB of signal over noise"
        rows["against FP32"] = f"cosine {quantized.cosine:.4f} or better{sqnr}, on calibration pictures"
    return rows


def _op_json(group: OpGroup) -> dict[str, Any]:
    """A group of ops; what multiplies integers is said as it always was."""
    fields = {key: value for key, value in to_json(group).items() if key != "bits"}
    return {**fields, "int8": group.bits == 8}


def _ops_table(found: Inspection) -> Table:
    """The ops of a file, heaviest first."""
    total = found.macs or 1
    table = Table(
        "op", "type", "arithmetic", "count", "constants", "multiply-accumulates", title="ops in the file", **show.PLAIN
    )
    for column in table.columns[3:]:
        column.justify = "right"
    for g in found.groups:
        macs = f"{g.macs / 1e6:.1f} M  {g.macs / total:6.1%}" if g.macs else ""
        arithmetic = (f"int{g.bits}" if g.bits else "float") if g.macs else ""
        table.add_row(g.op, g.dtype, arithmetic, str(g.count), megabytes(g.const_bytes) if g.const_bytes else "", macs)
    table.add_row(
        "total",
        "",
        "",
        str(sum(g.count for g in found.groups)),
        megabytes(sum(g.const_bytes for g in found.groups)),
        f"{found.macs / 1e6:.1f} M",
        style="bold",
    )
    return table


def _show_statistics(model: str, given: dict[str, Any], as_json: bool) -> None:
    """How a checkpoint's tensors look to INT8."""
    from edgecvx.inspection.checkpoint import examine
    from edgecvx.pipeline import Step

    with show.progress() as on_step:
        name = "looking at the checkpoint's tensors"
        on_step(Step(index=0, total=1, name=name))
        found = examine(model, **given, on_part=lambda part: on_step(Step(index=0, total=1, name=name, part=part)))
    show.warnings(found.warnings)
    if as_json:
        show.json_object({**to_json(found), "summary": list(found.summary)})
        return
    show.out.print(_layers_table(found))
    if any(layer.smoothed for layer in found.layers):
        show.out.print(
            "~ smoothed: its dB are of what is left behind that, its range and outliers of what was there before",
            style="dim",
            highlight=False,
        )
    for layer in found.layers:
        if layer.reason:
            show.out.print(f"[bold]{escape(layer.name)}[/] {escape(layer.why)}", highlight=False)
    show.out.print()
    for sentence in found.summary:
        show.out.print(escape(sentence), highlight=False)


def _layers_table(found: Examination) -> Table:
    """A row for each layer: what it reads, its weights, what it returns, and how it would be computed."""
    title = f"{found.model.name} in INT8, on {found.calibration.in_words}"
    table = Table("layer", title=escape(title), **show.PLAIN)
    for side in ("reads", "returns"):
        table.add_column(f"{side}:\nrange/rms", justify="right")
        table.add_column("\noutliers", justify="right")
        table.add_column("\ndB", justify="right")
        if side == "reads":
            table.add_column("weights:\ndB", justify="right")
    table.add_column("arithmetic")
    for layer in found.layers:
        reads, returns, left = layer.reads, layer.returns, layer.left
        table.add_row(
            f"{escape(layer.name)}{' ~' if layer.smoothed else ''}",
            *(f"{reads.over_rms:.0f}", str(len(reads.outliers) or ""), _left(left.input), _left(left.weights)),
            *(f"{returns.over_rms:.0f}", str(len(returns.outliers) or ""), _left(left.output)),
            layer.arithmetic.value,
            style=None if layer.arithmetic.value == "int8" else "yellow",
        )
    return table


def _left(decibels: float) -> str:
    """A figure; nothing where all is left."""
    from edgecvx.quantize.figures import NOTHING_LOST

    return "" if decibels >= NOTHING_LOST else str(round(decibels))
