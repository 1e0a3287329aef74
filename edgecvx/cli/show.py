"""How the command line shows things: consoles, progress, tables."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from edgecvx.accuracy.validate import Progress
    from edgecvx.latency.devices.collect import At
    from edgecvx.pipeline import Step
    from edgecvx.sweep.execute import Progress as Swept
    from edgecvx.tune.search import Progress as Tuning
    from edgecvx.web.visits.invitation import Invitation

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

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else on standard output.")]
ClusterOption = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS", help="Workers to use: local:4, tls://HOST:PORT, tcp://127.0.0.1:PORT (docs/cluster.md)."
    ),
]
ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file edgecvx export wrote.")]
"""What several verbs take."""

_WORKERS_SHOWN = 16
"""Lines of a terminal that workers of a cluster take; those of the rest are not shown."""
PLAIN: dict[str, Any] = {"box": box.SIMPLE_HEAD, "title_justify": "left", "title_style": "bold"}
"""The look of every table."""


def error(message: str) -> None:
    """One line on standard error, never wrapped, so that it can be searched for."""
    log.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def warnings(messages: Sequence[str]) -> None:
    """Warnings nobody can miss."""
    for message in messages:
        log.print(Panel(escape(message), title="warning", border_style="yellow", style="yellow"))


def remark(sentence: str | None) -> None:
    """Something about the work rather than its result, beside it; nothing for nothing."""
    if sentence is not None:
        log.print(escape(sentence), style="dim", highlight=False, soft_wrap=True)


def json_object(value: object) -> None:
    """One JSON object, alone on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


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
        yield lambda step: None if step.part else _line(f"[{step.index + 1}/{step.total}] {step.name}")
        return
    with _bar(SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda step: bar.update(
            task, description=escape(step.name), completed=step.index + step.part, total=step.total
        )


@contextlib.contextmanager
def counting() -> Iterator[Callable[[Progress], None]]:
    """Shows how many pictures went through which artifact: a bar on a terminal, a line per artifact elsewhere."""
    noted: set[str] = set()
    if not log.is_terminal:
        shown: set[int] = set()

        def line(at: Progress) -> None:
            if at.note and at.note not in noted:
                noted.add(at.note)
                _line(at.note)
            if at.index not in shown and at.artifact:
                shown.add(at.index)
                _line(f"[{at.index + 1}/{at.artifacts}] {at.artifact}: {at.total} pictures")

        yield line
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with _bar(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("reading the pictures", total=None)
        workers: dict[str, TaskID] = {}

        def draw(at: Progress) -> None:
            if at.note and at.note not in noted:
                noted.add(at.note)
                _line(at.note)
            name = f"[{at.index + 1}/{at.artifacts}] {escape(at.artifact)}"
            bar.update(task, description=name, completed=at.done, total=at.total)
            for word in at.workers[:_WORKERS_SHOWN]:
                if word.worker not in workers:
                    workers[word.worker] = bar.add_task("", total=None)
                doing = f"  {word.worker.partition('://')[2]}: {word.key}"
                bar.update(workers[word.worker], description=escape(doing), completed=word.done, total=word.of or None)

        yield draw


@contextlib.contextmanager
def benchmarking() -> Iterator[Callable[[At], None]]:
    """Shows how far each device is: a bar each on a terminal, a line per step and every fifth round elsewhere.

    It is called from the threads of the devices, rarely, and draws nothing in between: what is measured may be this
    very machine.
    """
    if not log.is_terminal:
        shown: set[str] = set()
        lock = threading.Lock()

        def line(at: At) -> None:
            rounds = f" {at.round} of {at.of}" if at.doing == "rounds" else ""
            text = f"{at.device}: {at.doing}{rounds}"
            with lock:
                if text not in shown and not (rounds and at.round % max(1, at.of // 4)):
                    shown.add(text)
                    _line(text)

        yield line
        return
    columns = (TextColumn("{task.fields[device]}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.description}"))
    with _bar(*columns, auto_refresh=False) as bar:
        tasks: dict[str, TaskID] = {}

        def draw(at: At) -> None:
            if at.device not in tasks:
                tasks[at.device] = bar.add_task("", total=at.of, device=escape(at.device))
            bar.update(tasks[at.device], completed=at.round, description=escape(at.doing), refresh=True)

        yield draw


HostOption = Annotated[
    str | None,
    typer.Option("--host", metavar="ADDRESS", help="browser: this machine's address, for phones (default: loopback)."),
]
WaitOption = Annotated[
    float, typer.Option("--wait", metavar="MINUTES", help="browser: how long its place is kept for one.")
]
"""What the verbs take that invite browsers."""


def invitation(host: str | None, wait_minutes: float) -> Invitation:
    """An invitation of browsers whose link is shown here, with its QR code."""
    from edgecvx.web.visits.invitation import LOOPBACK, Invitation

    return Invitation(host=host or LOOPBACK, wait_minutes=wait_minutes, show_link=_link, tell=_line)


def _link(link: str) -> None:
    """On paper of its own: a code is read dark on light, whatever the terminal's colours are."""
    from edgecvx.web.visits import code

    if log.is_terminal and code.can_draw():
        log.print(Text(code.drawn(link), style="#ffffff on #000000"), soft_wrap=True)
    elif log.is_terminal:
        _line("(pip install 'edgecvx[browser]' shows this link as a QR code)")
    _line(f"open this in the browser: {link}")


@contextlib.contextmanager
def sweeping() -> Iterator[Callable[[Swept], None]]:
    """Shows how far a sweep is: a live table of jobs, lanes and workers on a terminal, a line per event elsewhere."""
    if not log.is_terminal:
        shown: set[str] = set()

        def line(at: Swept) -> None:
            for text in (*(running.name for running in at.running), *([at.said] if at.said else [])):
                if text not in shown:
                    shown.add(text)
                    _line(text)

        yield line
        return
    with Live(console=log, transient=True, auto_refresh=False) as live:

        def draw(at: Swept) -> None:
            if at.said:
                live.console.print(Text(at.said, style="yellow"))
            live.update(_swept(at), refresh=True)

        yield draw


def _swept(at: Swept) -> RenderableType:
    """The jobs of each kind, then what each lane is at, then what each worker does."""
    kinds = list(dict.fromkeys(kind for kind, _ in at.counts))
    jobs = Table(**PLAIN)
    for name in ("jobs", "done", "running", "waiting", "failed"):
        jobs.add_column(name, justify="left" if name == "jobs" else "right")
    for kind in kinds:
        number = {state: at.counts.get((kind, state), 0) for state in ("done", "running", "waiting", "failed")}
        number["waiting"] += at.counts.get((kind, "elsewhere"), 0)
        jobs.add_row(kind, *(str(n) if n else "" for n in number.values()))
    lanes = Table(**PLAIN)
    for name in ("where", "what", ""):
        lanes.add_column(name, overflow="fold")
    for running in at.running:
        part = f"{running.done} of {running.of}" if running.of else ""
        lanes.add_row(Text(running.lane or "here"), Text(running.name), Text(f"{running.doing} {part}".strip()))
    for worker, doing in at.workers.items():
        lanes.add_row(Text(worker), Text(doing), "")
    return Group(jobs, lanes)


@contextlib.contextmanager
def tuning() -> Iterator[Callable[[Tuning], None]]:
    """Shows the stage of a search, what it costs, and what is left of its budget; a line per step elsewhere."""
    if not log.is_terminal:
        shown: set[tuple[str, str]] = set()

        def line(at: Tuning) -> None:
            if (at.stage, at.doing) not in shown:
                shown.add((at.stage, at.doing))
                _line(f"[{at.index + 1}/{at.of}] {at.stage}: {at.doing} ({_clock(at.spent)}, {_clock(at.left)} left)")

        yield line
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[time]}"))
    with _bar(*columns) as bar:
        task = bar.add_task("starting", total=1.0, time="")

        def draw(at: Tuning) -> None:
            name = f"[{at.index + 1}/{at.of}] {at.stage}: {at.doing}"
            time = f"{_clock(at.spent)}, {_clock(at.left)} left"
            bar.update(task, description=escape(name), completed=at.part, time=time)

        yield draw


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"


def _line(text: str) -> None:
    log.print(text, markup=False, highlight=False, soft_wrap=True)


def _bar(*columns: ProgressColumn, auto_refresh: bool = True) -> Bar:
    return Bar(*columns, console=log, transient=True, auto_refresh=auto_refresh)
