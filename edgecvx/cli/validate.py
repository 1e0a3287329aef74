"""``edgecvx validate``: how much worse than FP32 PyTorch, and how sure that is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecvx.cli import show
from edgecvx.cli.outputs import ExperimentOption, MlflowOption, check_outputs, deliver, track, tracker
from edgecvx.errors import UsageError
from edgecvx.results.figures import counted

if TYPE_CHECKING:
    from edgecvx.accuracy.validate import Progress


def validate(
    artifacts: Annotated[list[Path], typer.Argument(metavar="ARTIFACT…", help="Files edgecvx export wrote.")],
    data: Annotated[
        str, typer.Option(metavar="DIR|demo", help="A folder of pictures, or drawn ones where the weights know them.")
    ] = "demo",
    truth: Annotated[
        str | None,
        typer.Option(metavar="FILE|none", help="A label file; none compares answers only."),
    ] = None,
    limit: Annotated[int | None, typer.Option(metavar="N", min=1, help="The most pictures to take.")] = None,
    min_ratio: Annotated[
        float | None, typer.Option(metavar="R", help="The gate: top-1 over FP32's (0.99 where no gate is given).")
    ] = None,
    max_drop: Annotated[
        float | None, typer.Option(metavar="PP", help="The gate instead of that: percentage points of top-1.")
    ] = None,
    per_layer: Annotated[bool, typer.Option("--per-layer", help="Also find where errors are born.")] = False,
    batch: Annotated[int, typer.Option(metavar="N", help="Pictures per run of the reference.")] = 8,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, help="Threads for runtimes and PyTorch.")] = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="The weights an artifact was exported from, where a file.")
    ] = None,
    exclude: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Calibration pictures, left out of the evaluation by content.")
    ] = None,
    device: Annotated[
        str, typer.Option(metavar="local|browser", help="Where the artifacts answer: here, or in a browser.")
    ] = "local",
    host: show.HostOption = None,
    wait: show.WaitOption = 10,
    cluster: show.ClusterOption = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of the choice and order of pictures.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - for standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one self-contained page.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    mlflow: MlflowOption = None,
    mlflow_experiment: ExperimentOption = None,
) -> int:
    """Run the same pictures through FP32 PyTorch and each artifact, and say how much worse it is, and how sure.

    Exit code 0: every artifact passed its gate; 1: one failed, or the pictures were too few to tell; 2: an error.
    """
    from edgecvx.accuracy.thumbnails import thumbnails
    from edgecvx.accuracy.validate import validate as run
    from edgecvx.publishing.records import of_validation
    from edgecvx.report.forms.markdown import validation_markdown
    from edgecvx.report.forms.page import page
    from edgecvx.report.forms.terminal import validation_errors, validation_terminal
    from edgecvx.report.join import join
    from edgecvx.results.accuracy import as_json

    if host is not None and device != "browser":
        raise UsageError(f"--host {host} goes with --device browser, and there is none")
    places = {"json": json_file, "html": html, "markdown": markdown}
    check_outputs(places)
    tracked = tracker(mlflow, mlflow_experiment)
    pace = Pace()
    with show.counting() as draw:

        def on_progress(at: Progress) -> None:
            pace.note(at)
            draw(at)

        result = run(
            artifacts,
            data=data,
            truth=truth,
            limit=limit,
            seed=seed,
            min_ratio=min_ratio,
            max_drop=max_drop,
            batch=batch,
            threads=threads,
            checkpoints=checkpoint or (),
            exclude=exclude or (),
            device=device,
            invitation=show.invitation(host, wait) if device == "browser" else None,
            cluster=cluster,
            on_progress=on_progress,
        )
    if per_layer:
        from edgecvx.accuracy.layers.compare import with_layers

        result = with_layers(result, artifacts, checkpoint=checkpoint)
    show.warnings(result.warnings)
    forms = {
        "json": lambda: as_json(result),
        "markdown": lambda: validation_markdown(result),
        "html": lambda: page(join([result], [], thumbnails=thumbnails(result, data))),
    }
    deliver(places, forms, lambda: validation_terminal(result), lambda: validation_errors(result))
    show.remark(pace.sentence)
    track(tracked, lambda: of_validation(result, artifacts, page=html))
    return result.exit_code


@dataclass(slots=True)
class Pace:
    """How fast it was: the pictures that were run, not those that were known, and the time from the first word on.

    For the terminal alone, since a report of the same pictures is the same on any day.
    """

    clock: Callable[[], float] = time.perf_counter
    _ran: dict[int, int] = field(default_factory=dict)
    _begun: float | None = None
    _ended: float = 0.0

    def note(self, at: Progress) -> None:
        """Takes a word of a validation."""
        self._ended = self.clock()
        self._begun = self._ended if self._begun is None else self._begun
        self._ran[at.index] = at.done - at.known

    @property
    def sentence(self) -> str | None:
        """What a user is told; None where nothing had to be run."""
        ran, files = sum(self._ran.values()), sum(n > 0 for n in self._ran.values())
        seconds = self._ended - (self._begun or 0.0)
        if ran <= 0 or seconds <= 0:
            return None
        through = f" through {files} files" if files > 1 else ""
        return f"{counted(ran, 'picture', 'pictures')}{through} in {seconds:.1f} s: {ran / seconds:.3g} a second"
