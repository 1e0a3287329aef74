"""``edgecvx bench``: how long files take, on this machine or on the device they are for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecvx.cli import show
from edgecvx.cli.outputs import (
    ExperimentOption,
    MlflowOption,
    check_outputs,
    deliver,
    json_alone,
    track,
    tracker,
)
from edgecvx.errors import UsageError

if TYPE_CHECKING:
    from edgecvx.web.visits.invitation import Invitation


def bench(
    artifacts: Annotated[list[Path], typer.Argument(metavar="ARTIFACT…", help="Files edgecvx export wrote.")],
    device: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DEVICE",
            help="local, ssh://user@host\\[:port], adb://SERIAL or browser\\[:N]; several are measured side by side.",
        ),
    ] = None,
    threads: Annotated[
        str | None,
        typer.Option(metavar="LIST", help="Numbers of threads, such as 1,2,4; the runtime's own by default."),
    ] = None,
    runs: Annotated[int | None, typer.Option(metavar="N", help="Samples of each artifact (default 200).")] = None,
    seconds: Annotated[
        float | None, typer.Option(metavar="S", help="Instead: how long each artifact is run, all in all.")
    ] = None,
    rounds: Annotated[int, typer.Option(metavar="N", help="How many turns they are spread over.")] = 20,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end/--no-end-to-end", help="Also measure from picture file to classes.")
    ] = True,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Also measure memory.")] = True,
    sustained: Annotated[
        float, typer.Option(metavar="MINUTES", help="Also run each without a pause, to see it throttle.")
    ] = 0,
    data: Annotated[str, typer.Option(metavar="DIR|demo", help="A folder of pictures, or drawn ones.")] = "demo",
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME[:KEY=VALUE,…]",
            help="Open a runtime's files with these options; once more for each other choice, as "
            "tflite and tflite:delegate=none.",
        ),
    ] = None,
    python: Annotated[str | None, typer.Option(metavar="COMMAND", help="The Python of the device.")] = None,
    adb_benchmark: Annotated[
        str | None, typer.Option(metavar="FILE", help="adb: LiteRT's benchmark_model, for the phone's processor.")
    ] = None,
    host: show.HostOption = None,
    max_p50: Annotated[
        float | None, typer.Option(metavar="MS", help="A gate: the most the median of the model alone may take.")
    ] = None,
    max_ratio: Annotated[
        float | None, typer.Option(metavar="R", help="A gate: the most times as long as --against.")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="The artifact for --max-ratio; measured in turn with the others."),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the choice of pictures.")] = 0,
    wait: Annotated[
        float,
        typer.Option(
            metavar="MINUTES",
            help="How long to wait for a device: somebody else measures on it, or no browser has come.",
        ),
    ] = 30,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every sample as JSON; - for standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one self-contained page.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    mlflow: MlflowOption = None,
    mlflow_experiment: ExperimentOption = None,
) -> int:
    """Measure latency, memory and throughput, artifacts in turn, and say how sure every figure is.

    Exit code 0: measured, every gate passed; 1: a gate failed, or could not be decided; 2: an error.
    """
    from edgecvx.latency.bench import as_json, benchmark
    from edgecvx.publishing.records import of_benchmark
    from edgecvx.report.forms.markdown import markdown as as_markdown
    from edgecvx.report.forms.page import page
    from edgecvx.report.forms.terminal import benchmark_errors, benchmark_terminal
    from edgecvx.report.join import join

    places = {"json": json_file, "html": html, "markdown": markdown}
    check_outputs(places)
    tracked = tracker(mlflow, mlflow_experiment)
    with show.benchmarking() as on_progress:
        result = benchmark(
            artifacts,
            devices=device or ("local",),
            threads=None if threads is None else _numbers(threads),
            runs=runs,
            seconds=seconds,
            rounds=rounds,
            end_to_end=end_to_end,
            memory=memory,
            sustained_minutes=sustained,
            data=data,
            runtimes=runtime or (),
            python=python,
            adb_benchmark=adb_benchmark,
            invitation=_invitation(device or (), host, wait),
            max_p50=max_p50,
            max_ratio=max_ratio,
            against=against,
            seed=seed,
            wait_minutes=wait,
            on_progress=on_progress,
        )
    show.warnings(result.warnings)
    forms = {
        "json": lambda: as_json(result),
        "html": lambda: page(join([], [result])),
        "markdown": lambda: as_markdown(join([], [result])),
    }
    # The tables show the errors.
    errors = benchmark_errors if json_alone(places) else lambda _: ()
    deliver(places, forms, lambda: benchmark_terminal(result), lambda: errors(result))
    track(tracked, lambda: of_benchmark(result, as_json(result), artifacts, page=html))
    return result.exit_code


def _invitation(devices: Sequence[str], host: str | None, wait: float) -> Invitation | None:
    from edgecvx.latency.devices import is_browser

    if any(map(is_browser, devices)):
        return show.invitation(host, wait)
    if host is not None:
        raise UsageError(f"--host {host} goes with --device browser, and there is none")
    return None


def _numbers(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--threads {text} does not work: it is numbers with commas between, as 1,2,4") from None
