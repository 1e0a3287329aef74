"""How the command line shows things: consoles, progress, tables."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.segment import Segment
from rich.table import Table

if TYPE_CHECKING:
    from edgecvx.accuracy.validate import Progress
    from edgecvx.inspection.artifact import Inspection
    from edgecvx.latency.devices.collect import At
    from edgecvx.manifest import Quantized
    from edgecvx.pipeline import Step

_OBEYED = dict.fromkeys(
    c for c in (*range(32), *range(127, 160), *range(0x202A, 0x202F), *range(0x2066, 0x206A)) if chr(c) not in "\n\t"
)
"""What a terminal obeys in place of showing it: control characters, and those that turn the direction of writing."""


class Terminal(Console):
    """A console on which text is text: labels and names come from files that may hold anything, escape codes too."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does it; only what rich itself tells the terminal reaches it as a command."""
        for part in super().render(renderable, options):
            yield part if part.control else Segment(part.text.translate(_OBEYED), part.style)

    def on_broken_pipe(self) -> None:
        """Nobody reads any more: the rest is not shown. Files and exit codes do not depend on who looks on."""
        self.quiet = True


out = Terminal(width=None if sys.stdout.isatty() else 120)
"""A log or a pipe has no width of its own; 80 columns would cut the tables."""
log = Terminal(stderr=True)

PLAIN: dict[str, Any] = {"box": box.SIMPLE_HEAD, "title_justify": "left", "title_style": "bold"}
"""The look of every table."""


def error(message: str) -> None:
    """One line on standard error, never wrapped, so that it can be searched for."""
    log.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def warnings(messages: Sequence[str]) -> None:
    """Warnings nobody can miss."""
    for message in messages:
        log.print(Panel(escape(message), title="warning", border_style="yellow", style="yellow"))


@contextlib.contextmanager
def for_whoever_reads() -> Iterator[None]:
    """What is printed in here past rich may find no reader any more; what comes after it, files above all, stays."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)


@contextlib.contextmanager
def progress() -> Iterator[Callable[[Step], None]]:
    """Shows steps on standard error: a bar on a terminal, a line each elsewhere."""
    if not log.is_terminal:

        def tell(step: Step) -> None:
            if not step.part:
                log.print(f"[{step.index + 1}/{step.total}] {step.name}", markup=False, highlight=False)

        yield tell
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Bar(*columns, console=log, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda step: bar.update(task, description=step.name, completed=step.index + step.part, total=step.total)


@contextlib.contextmanager
def counting() -> Iterator[Callable[[Progress], None]]:
    """Shows how many pictures went through which artifact: a bar on a terminal, a line per artifact elsewhere."""
    if not log.is_terminal:
        shown: set[int] = set()

        def tell(at: Progress) -> None:
            if at.index not in shown:
                shown.add(at.index)
                text = f"[{at.index + 1}/{at.artifacts}] {at.artifact}: {at.total} pictures"
                log.print(text, markup=False, highlight=False, soft_wrap=True)

        yield tell
        return
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Bar(*columns, console=log, transient=True) as bar:
        task = bar.add_task("reading the pictures", total=None)
        yield lambda at: bar.update(
            task,
            description=f"[{at.index + 1}/{at.artifacts}] {escape(at.artifact)}",
            completed=at.done,
            total=at.total,
        )


@contextlib.contextmanager
def benchmarking() -> Iterator[Callable[[At], None]]:
    """Shows how far each device is: a bar each on a terminal, a line per step and every fifth round elsewhere.

    It is called from the threads of the devices, rarely, and draws nothing in between: what is measured may be this
    very machine.
    """
    if not log.is_terminal:
        shown: set[str] = set()
        lock = threading.Lock()

        def tell(at: At) -> None:
            rounds = f" {at.round} of {at.of}" if at.doing == "rounds" else ""
            text = f"{at.device}: {at.doing}{rounds}"
            with lock:
                if text in shown or (rounds and at.round % max(1, at.of // 4)):
                    return
                shown.add(text)
                log.print(text, markup=False, highlight=False, soft_wrap=True)

        yield tell
        return
    columns = (TextColumn("{task.fields[device]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with Bar(*columns, console=log, transient=True, auto_refresh=False) as bar:
        tasks: dict[str, TaskID] = {}

        def draw(at: At) -> None:
            if at.device not in tasks:
                tasks[at.device] = bar.add_task("", total=at.of, device=escape(at.device))
            bar.update(tasks[at.device], completed=at.round, description=escape(at.doing), refresh=True)

        yield draw


def megabytes(size: int) -> str:
    """A size a person reads."""
    return f"{size / 1e6:.2f} MB"


def manifest_table(found: Inspection) -> Table:
    """The facts of a manifest."""
    m = found.manifest
    check, pre, processor = m.self_check, m.model.preprocess, m.proof.processor
    table = Table(show_header=False, title=escape(found.path.name), **PLAIN)
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


def ops_table(found: Inspection) -> Table:
    """The ops of a file, heaviest first."""
    total = found.macs or 1
    table = Table(
        "op", "type", "arithmetic", "count", "constants", "multiply-accumulates", title="ops in the file", **PLAIN
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
