"""``edgecvx validate``: how much worse than FP32 PyTorch, and how sure that is."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecvx.cli import show

if TYPE_CHECKING:
    from edgecvx.results.accuracy import Validation


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
    seed: Annotated[int, typer.Option(metavar="N", help="Of the choice and order of pictures.")] = 0,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the figures as JSON; - for standard output.")
    ] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write one self-contained page.")] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
) -> int:
    """Run the same pictures through FP32 PyTorch and each artifact, and say how much worse it is, and how sure.

    Exit code 0: every artifact passed its gate; 1: one failed, or the pictures were too few to tell; 2: an error.
    """
    from edgecvx.accuracy.layers.compare import with_layers
    from edgecvx.accuracy.validate import validate as run
    from edgecvx.report import accuracy as report
    from edgecvx.results.outputs import check_outputs

    check_outputs(json=json_file, html=html, markdown=markdown)
    with show.counting() as on_progress:
        validation = run(
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
            on_progress=on_progress,
        )
    if per_layer:
        validation = with_layers(validation, artifacts, checkpoint=checkpoint)
    show.warnings(validation.warnings)
    # What took an hour to compute must not be lost with a disk that is full by now, nor with a terminal that is gone.
    try:
        with show.for_whoever_reads():
            if json_file is None or str(json_file) != "-":
                show.out.print(report.terminal(validation))
            else:
                typer.echo(report.as_json(validation), nl=False)
        for sentence in report.errors_of(validation):
            show.error(sentence)
    finally:
        _write(validation, data, json_file=json_file, html=html, markdown=markdown)
    return validation.exit_code


def _write(
    validation: Validation, data: str, *, json_file: Path | None, html: Path | None, markdown: Path | None
) -> None:
    from edgecvx.accuracy.thumbnails import thumbnails
    from edgecvx.files import write_atomically
    from edgecvx.report import accuracy as report

    if json_file is not None and str(json_file) != "-":
        write_atomically(json_file, report.as_json(validation).encode())
    if markdown is not None:
        write_atomically(markdown, report.markdown(validation).encode())
    if html is not None:
        write_atomically(html, report.html(validation, thumbnails(validation, data)).encode())
