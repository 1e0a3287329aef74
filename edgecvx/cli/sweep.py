"""``edgecvx sweep``: everything a recipe asks for, stopped and resumed as often as need be."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from edgecvx.cli import show
from edgecvx.cli.outputs import ExperimentOption, MlflowOption, track, tracker
from edgecvx.results.figures import counted, megabytes

if TYPE_CHECKING:
    from edgecvx.sweep.run import Preview


def sweep(
    recipe: Annotated[Path, typer.Argument(metavar="RECIPE.toml", help="What to export, validate and time.")],
    cluster: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Compute on a cluster: local:N, tls://HOST:PORT, tcp://127.0.0.1:PORT."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where results go (default: RECIPE-sweep in this folder).")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Take the results that are there, or make all anew.")
    ] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done, and how long it takes.")] = (
        False
    ),
    mlflow: MlflowOption = None,
    mlflow_experiment: ExperimentOption = None,
    as_json: show.AsJson = False,
) -> int:
    """Export, validate and time everything that a recipe names, on this machine or a cluster; then one report.

    Exit code 0: everything is there, every gate passed; 1: a gate failed or is undecided; 2: something is missing.
    """
    from edgecvx.publishing.records import of_sweep
    from edgecvx.sweep import forms
    from edgecvx.sweep.result import as_json as text
    from edgecvx.sweep.run import preview
    from edgecvx.sweep.run import sweep as run

    if dry_run:
        asked = preview(recipe, out=out)
        if as_json:
            show.json_object(_as_json(asked))
        else:
            _show(asked)
        return 0
    tracked = tracker(mlflow, mlflow_experiment)
    with show.sweeping() as on_progress:
        result = run(recipe, out=out, cluster=cluster, resume=resume, on_progress=on_progress)
    show.warnings(result.warnings)
    with show.for_whoever_reads():
        if as_json:
            typer.echo(text(result), nl=False)
        else:
            show.out.print(forms.terminal(result))
    folder = out or Path(f"{recipe.stem}-sweep")
    show.log.print(f"{folder / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    for missing in result.missing:
        show.error(f"{missing.name}: {missing.reason}")
    track(tracked, lambda: of_sweep(result, text(result), folder))
    return result.exit_code


_WORDS = {"export": "export", "validate": "validation", "bench": "measurement"}


def _show(asked: Preview) -> None:
    """The plan, for people."""
    table = Table(title=f"{asked.plan.recipe.name}, in {asked.out}", **show.PLAIN)
    for name in ("file", "validated on", "timed on"):
        table.add_column(name, overflow="fold")
    for planned in asked.plan.cells:
        row = (planned.cell.name, ", ".join(planned.validations), ", ".join(planned.benches))
        table.add_row(*map(Text, row))
    show.out.print(table)
    for left in asked.plan.left_out:
        show.out.print(Text(f"left out: {left.name}: {left.reason}", style="dim"))
    undone = asked.estimate.left
    kinds = [f"{undone.get(kind, 0)} of {counted(n, _WORDS[kind])}" for kind, n in asked.estimate.jobs.items()]
    show.out.print(f"to do: {', '.join(kinds)}", highlight=False)
    show.out.print(
        f"about {_duration(asked.estimate.seconds)} on this machine alone, {megabytes(int(asked.estimate.bytes), 0)}",
        highlight=False,
    )
    show.out.print(Text(asked.estimate.basis, style="dim"))


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"


def _as_json(asked: Preview) -> dict[str, Any]:
    return {
        "name": asked.plan.recipe.name,
        "out": str(asked.out),
        "cells": [
            {"name": p.cell.name, "validated_on": list(p.validations), "timed_on": list(p.benches)}
            for p in asked.plan.cells
        ],
        "left_out": [{"name": left.name, "reason": left.reason} for left in asked.plan.left_out],
        "jobs": asked.estimate.jobs,
        "left": asked.estimate.left,
        "seconds": round(asked.estimate.seconds, 1),
        "bytes": round(asked.estimate.bytes),
        "basis": asked.estimate.basis,
    }
