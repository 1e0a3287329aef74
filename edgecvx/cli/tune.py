"""``edgecvx tune``: which file to ship."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from edgecvx.cli import show
from edgecvx.cli.outputs import ExperimentOption, MlflowOption, track, tracker
from edgecvx.errors import UsageError

if TYPE_CHECKING:
    from edgecvx.tune.report.values import DeviceResult, Tuned

SHOWN = 12
"""Rows of a device in the terminal; all of them are in the report."""
COLOURS = {"ship": "bold green", "tied": "green", "breaks": "red", "error": "red", "predicted": "dim", "dropped": "dim"}


def tune(
    models: Annotated[list[str], typer.Argument(metavar="MODEL…", help="Variants or checkpoints, which compete.")],
    target: Annotated[str, typer.Option(metavar="T[,T…]", help="Targets, with commas between.")],
    weights: Annotated[
        str, typer.Option(metavar="KIND|FILE", help="auto, imagenet, demo, or a file for the variant.")
    ] = "auto",
    device: Annotated[
        list[str] | None,
        typer.Option(metavar="DEVICE", help="local, ssh://user@host, …; each has a winner of its own."),
    ] = None,
    data: Annotated[str, typer.Option(metavar="DIR|demo", help="Labelled pictures, or drawn ones.")] = "demo",
    truth: Annotated[str | None, typer.Option(metavar="FILE", help="A label file for them.")] = None,
    labels: Annotated[
        str | None, typer.Option(metavar="FILE", help="Class names, where the checkpoints bring none.")
    ] = None,
    calib: Annotated[
        str | None, typer.Option(metavar="DIR|demo", help="Pictures to calibrate on (default: a part of --data).")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(metavar="PP", help="Points of top-1 that may be lost against FP32.")
    ] = None,
    min_top1: Annotated[
        float | None, typer.Option(metavar="P", help="Instead: percent that have to be right, whatever the model.")
    ] = None,
    max_p50: Annotated[float | None, typer.Option(metavar="MS", help="The most the model alone may take.")] = None,
    max_mb: Annotated[float | None, typer.Option(metavar="N", help="The most the file may have, in MB.")] = None,
    max_memory: Annotated[
        float | None, typer.Option(metavar="MB", help="The most memory a process with it may ever hold.")
    ] = None,
    sizes: Annotated[str, typer.Option(metavar="LIST", help="Sizes of the input.")] = "160,192,224,256",
    threads: Annotated[
        str | None, typer.Option(metavar="LIST", help="Numbers of threads; the target's own by default.")
    ] = None,
    budget: Annotated[float, typer.Option(metavar="MINUTES", help="After them no new work is begun.")] = 60,
    cluster: show.ClusterOption = None,
    one_file: Annotated[
        bool, typer.Option("--one-file", help="One file for all devices, of which the worst counts.")
    ] = False,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Where files and report go.")] = Path("tuned"),
    seed: Annotated[int, typer.Option(metavar="N", min=0, help="Of the pictures.")] = 0,
    mlflow: MlflowOption = None,
    mlflow_experiment: ExperimentOption = None,
    as_json: show.AsJson = False,
) -> int:
    """Find the file to ship: what keeps the limits, and of that the best, measured on the device.

    With --max-p50 the best is what is most often right within it; with a limit on the loss alone, the fastest; without
    any limit the whole front is drawn. Exit code 0: decided; 1: undecided or impossible; 2: an error.
    """
    from edgecvx.publishing.records import of_tuned
    from edgecvx.tune.report.values import as_json as text
    from edgecvx.tune.tune import tune as run

    tracked = tracker(mlflow, mlflow_experiment)
    with show.tuning() as on_progress:
        result = run(
            models,
            target=target.split(","),
            weights=weights,
            devices=device or ("local",),
            data=data,
            truth=truth,
            labels=labels,
            calib=calib,
            max_drop=max_drop,
            min_top1=min_top1,
            max_p50=max_p50,
            max_mb=max_mb,
            max_memory=max_memory,
            sizes=_numbers("--sizes", sizes),
            threads=() if threads is None else _numbers("--threads", threads),
            budget=budget,
            cluster=cluster,
            one_file=one_file,
            out=out,
            seed=seed,
            on_progress=on_progress,
        )
    show.warnings(result.warnings)
    with show.for_whoever_reads():
        if as_json:
            typer.echo(text(result), nl=False)
        else:
            show.out.print(_shown(result))
    show.log.print(f"{out / 'report.html'}", markup=False, highlight=False, soft_wrap=True)
    track(tracked, lambda: of_tuned(result, text(result), out))
    return result.exit_code


def _numbers(option: str, text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"{option} {text} does not work: it is numbers with commas between") from None


def _shown(result: Tuned) -> RenderableType:
    """The verdict of each device, and what raced there."""
    parts: list[RenderableType] = []
    for device in result.devices:
        parts += _device(device)
    costs = "; ".join(f"{s.name} {s.seconds:.0f} s" for s in result.stages)
    return Group(*parts, Text(costs, style="dim"))


def _device(device: DeviceResult) -> Sequence[RenderableType]:
    from edgecvx.tune.report import words

    table = Table(title=device.device, **show.PLAIN)
    table.add_column("file", overflow="fold", min_width=20)
    for name in ("", *words.COLUMNS):
        table.add_column(name, justify="left" if not name else "right")
    for row in words.ordered(device.rows)[:SHOWN]:
        style = COLOURS.get(row.state, "")
        table.add_row(Text(row.name, style=style), Text(row.state, style=style), *map(Text, words.cells(row)))
    more = len(device.rows) - SHOWN
    below = [Text(f"and {more} more in the report", style="dim")] if more > 0 else []
    bought = [Text(n.sentence, style="dim") for n in device.next_limits]
    return [table, *below, Text(device.ending.sentence, style="bold"), *bought]
