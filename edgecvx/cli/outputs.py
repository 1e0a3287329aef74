"""Where results go: refused before anything is measured for what could not be written, then shown and written.

``places`` is an option -> its file: ``html``, ``markdown``, ``csv``, and ``json``, which alone may be ``-``, standard
output; ``forms`` the same option -> what makes its text, which is called only where it is wanted.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecvx.cli import show
from edgecvx.errors import UsageError, missing_package

if TYPE_CHECKING:
    from rich.console import RenderableType

    from edgecvx.publishing.records import RunRecord
    from edgecvx.publishing.tracking import Tracker

MlflowOption = Annotated[
    str | None,
    typer.Option(
        metavar="URI", help="Also log runs there: http://HOST:PORT, https://…, a folder (docs/publishing.md)."
    ),
]
ExperimentOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="mlflow: the experiment of the runs (default edgecvx).")
]
"""What the verbs that measure take."""

Places = Mapping[str, Path | None]
Forms = Mapping[str, Callable[[], str]]


def check_outputs(places: Places) -> None:
    """Refuses what could not be written.

    Raises:
        UsageError: A folder, a place this user may not write to, or one file for two reports.
        RuntimeUnavailableError: A page is wanted, and what makes pages is not installed.
    """
    named = {f"--{option}": path for option, path in _files(places).items()}
    taken: dict[str, str] = {}
    for option, path in named.items():
        if str(path) == "-":
            raise UsageError(f"{option} - does not work: only JSON goes to standard output; name a file")
        if path.is_dir():
            raise UsageError(f"{path} is a folder: name a file")
        nearest = next(folder for folder in path.absolute().parents if folder.exists())
        if not nearest.is_dir() or not os.access(nearest, os.W_OK):
            raise UsageError(f"{path} cannot be written: {nearest} is no folder this user may write to")
        first = taken.setdefault(os.path.realpath(path), option)
        if first != option:
            raise UsageError(f"{first} and {option} name one file for two reports: {path}")
    if "--html" in named and importlib.util.find_spec("jinja2") is None:
        raise missing_package("Jinja2, which writes HTML reports,", "report")


def deliver(
    places: Places, forms: Forms, shown: Callable[[], RenderableType], errors: Callable[[], Iterable[str]]
) -> None:
    """Shows a result or prints its JSON, tells its errors, and writes the files that were asked for.

    What took an hour to measure must not be lost with a disk that is full by now, nor with a terminal that is gone.
    """
    try:
        with show.for_whoever_reads():
            if json_alone(places):
                typer.echo(forms["json"](), nl=False)
            else:
                show.out.print(shown())
        for sentence in errors():
            show.error(sentence)
    finally:
        write(places, forms)


def write(places: Places, forms: Forms) -> list[Path]:
    """Writes each form that has a file, whole or not at all; returns the files."""
    from edgecvx.files import write_atomically

    files = _files(places)
    written = {files[option]: text for option, text in forms.items() if option in files}
    for path, text in written.items():
        write_atomically(path, text().encode())
    return list(written)


def json_alone(places: Places) -> bool:
    """Whether standard output is for JSON and nothing else."""
    return str(places.get("json")) == "-"


def _files(places: Places) -> dict[str, Path]:
    return {k: path for k, path in places.items() if path is not None and not (k == "json" and json_alone(places))}


def tracker(address: str | None, experiment: str | None) -> Tracker | None:
    """The tracking server that was asked for, which answered: before anything is measured for one that does not."""
    if address is None:
        if experiment is not None:
            raise UsageError(f"--mlflow-experiment {experiment} goes with --mlflow, and there is none")
        return None
    from edgecvx.publishing.tracking import EXPERIMENT, open_tracker

    return open_tracker(address, experiment or EXPERIMENT)


def track(where: Tracker | None, record: Callable[[], RunRecord]) -> None:
    """Logs a result that was shown and written already, where that was asked for."""
    if where is None:
        return
    run = where.log(record())
    show.log.print(f"run {run} in {where.address}", markup=False, highlight=False, soft_wrap=True)
