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
from rich.console import Console, ConsoleOptions, RenderableType
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
from rich.text import Text

if TYPE_CHECKING:
    from edgecvx.accuracy.validate import Progress
    from edgecvx.latency.devices.collect import At
    from edgecvx.pipeline import Step
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
ArtifactPath = Annotated[Path, typer.Argument(metavar="ARTIFACT", help="A file edgecvx export wrote.")]
"""What several verbs take."""

PLAIN: dict[str, Any] = {"box": box.SIMPLE_HEAD, "title_justify": "left", "title_style": "bold"}
"""The look of every table."""


def error(message: str) -> None:
    """One line on standard error, never wrapped, so that it can be searched for."""
    log.print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True, highlight=False)


def warnings(messages: Sequence[str]) -> None:
    """Warnings nobody can miss."""
    for message in messages:
        log.print(Panel(escape(message), title="warning", border_style="yellow", style="yellow"))


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
    if not log.is_terminal:
        shown: set[int] = set()

        def line(at: Progress) -> None:
            if at.index not in shown:
                shown.add(at.index)
                _line(f"[{at.index + 1}/{at.artifacts}] {at.artifact}: {at.total} pictures")

        yield line
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with _bar(*columns, TimeRemainingColumn()) as bar:
        task = bar.add_task("reading the pictures", total=None)

        def draw(at: Progress) -> None:
            name = f"[{at.index + 1}/{at.artifacts}] {escape(at.artifact)}"
            bar.update(task, description=name, completed=at.done, total=at.total)

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


def _line(text: str) -> None:
    log.print(text, markup=False, highlight=False, soft_wrap=True)


def _bar(*columns: ProgressColumn, auto_refresh: bool = True) -> Bar:
    return Bar(*columns, console=log, transient=True, auto_refresh=auto_refresh)
