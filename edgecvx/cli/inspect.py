"""``edgecvx inspect``: what is in an artifact."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from edgecvx.cli import show
from edgecvx.errors import UsageError
from edgecvx.results.figures import megabytes
from edgecvx.spec import to_json

if TYPE_CHECKING:
    from edgecvx.inspection.artifact import Inspection, OpGroup
    from edgecvx.manifest import Quantized


def inspect(
    artifact: show.ArtifactPath,
    gpu_delegate: Annotated[
        bool, typer.Option("--gpu-delegate", help="Ask TensorFlow whether TFLite's GPU delegate would take the file.")
    ] = False,
    as_json: show.AsJson = False,
) -> None:
    """Show what is in an artifact: where it came from, how it was proved, and its ops as the file has them."""
    from edgecvx.inspection.artifact import inspect as look
    from edgecvx.inspection.gpu_delegate import gpu_opinion

    found = look(artifact)
    if gpu_delegate and found.manifest.format != "tflite":
        raise UsageError(f"{found.path.name} is no .tflite file: only those have a GPU delegate")
    opinion = gpu_opinion(found.path) if gpu_delegate else None
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
            }
        )
        return
    show.out.print(_manifest_table(found))
    show.out.print(_ops_table(found))
    for op, reason in found.manifest.kept_float.items():
        show.out.print(f"[bold]{escape(op)}[/] stays in higher precision: {escape(reason)}", highlight=False)
    if opinion is not None:
        text = "would take this file" if opinion.compatible else "would not: " + "; ".join(opinion.reasons)
        show.out.print(f"[bold]GPU delegate[/] {escape(text)}, says TensorFlow's Analyzer; a phone may differ")


def _manifest_table(found: Inspection) -> Table:
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
        **({} if m.quantized is None else _quantized_rows(found, m.quantized)),
        "written by": ", ".join(f"{name} {version}" for name, version in m.tools.items()),
    }
    for key, value in rows.items():
        table.add_row(key, escape(value))
    if check.note:
        table.add_row("", escape(check.note), style="dim")
    return table


def _quantized_rows(found: Inspection, quantized: Quantized) -> dict[str, str]:
    """How an INT8 file was made, and what of it is INT8."""
    rows = {
        "int8": f"{found.integer_share:.1%} of the multiply-accumulates; weights and all else take "
        f"{found.total_bytes / quantized.fp32_bytes:.2f} of the float32 weights' size",
        "scheme": "; ".join(f"{what}: {how}" for what, how in quantized.scheme.items()),
        **({} if found.pairs is None else {"pairs of weights": str(found.pairs)}),
        "scales by": quantized.engine,
    }
    if (c := quantized.calibration) is not None:
        what = "drawn pictures" if c.kind == "demo" else f"pictures of {c.name}"
        halves = "" if quantized.agreement is None else f"; two halves of them agree within {quantized.agreement:.2f}"
        rows["calibrated on"] = f"{c.count} {what}{halves}"
    if quantized.cosine is not None:
        rows["against FP32"] = f"cosine {quantized.cosine:.4f} or better on calibration pictures"
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
