"""``edgecvx report``: what validate and bench measured, joined, for people."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgecvx.cli import show

if TYPE_CHECKING:
    from edgecvx.report.read import Sources

NAME = "report"
"""Of the files, without their suffixes, where none is named."""


def report(
    results: Annotated[
        list[Path],
        typer.Argument(metavar="DIR|FILE…", help="JSON of edgecvx validate and bench, or folders that hold some."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Where report.html, .md and .csv go (default: the one folder given, or here)."
        ),
    ] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the page there, and only what is named.")
    ] = None,
    markdown: Annotated[Path | None, typer.Option(metavar="FILE", help="Write Markdown.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a table for spreadsheets.")] = None,
    table: Annotated[
        bool, typer.Option("--table", help="Print the tables as Markdown, for a README, and write only what is named.")
    ] = False,
    title: Annotated[str | None, typer.Option(metavar="TEXT", help="Instead of the headline the figures give.")] = None,
) -> None:
    """Join validations and benchmarks by the artifacts' content, and write one page, Markdown and CSV.

    Each device is ranked by itself; accuracies over different pictures are never compared.
    """
    from edgecvx.files import write_atomically
    from edgecvx.report import read as dossier_read
    from edgecvx.report import write as dossier
    from edgecvx.results.outputs import check_outputs

    places = _places(results, out, html, markdown, csv, table)
    check_outputs(**places)
    sources = dossier_read.read(results)
    show.warnings(sources.warnings)
    found = (sources.validations, sources.benchmarks)
    written = []
    for kind, path in places.items():
        if kind == "html":
            text = dossier.page(*found, title=title, files=sources.files, warnings=sources.warnings)
        elif kind == "markdown":
            text = dossier.markdown(*found, title=title)
        else:
            text = dossier.csv(*found)
        write_atomically(path, text.encode())
        written.append(path)
    if table:
        typer.echo(dossier.table(*found), nl=False)
    else:
        show.out.print(_told(sources), highlight=False)
    for path in written:
        (show.log if table else show.out).print(str(path), markup=False, highlight=False, soft_wrap=True)


def _places(
    results: list[Path], out: Path | None, html: Path | None, markdown: Path | None, csv: Path | None, table: bool
) -> dict[str, Path]:
    """Which forms are written, and where."""
    named = {kind: path for kind, path in (("html", html), ("markdown", markdown), ("csv", csv)) if path is not None}
    if out is None and (named or table):
        return named
    folder = out or (results[0] if len(results) == 1 and results[0].is_dir() else Path())
    forms = {"html": "html", "markdown": "md", "csv": "csv"}
    return {kind: named.get(kind, folder / f"{NAME}.{suffix}") for kind, suffix in forms.items()}


def _told(sources: Sources) -> str:
    from edgecvx.results.figures import counted

    parts = [
        counted(len(found), word)
        for found, word in ((sources.validations, "validation"), (sources.benchmarks, "benchmark"))
        if found
    ]
    return f"{' and '.join(parts)}, joined:"
