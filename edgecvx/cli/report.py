"""``edgecvx report``: what validate and bench measured, joined, for people."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from edgecvx.cli import show
from edgecvx.cli.outputs import check_outputs, write

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
    from edgecvx.report.forms.csv import csv as as_csv
    from edgecvx.report.forms.markdown import markdown as as_markdown
    from edgecvx.report.forms.markdown import table as as_table
    from edgecvx.report.forms.page import page
    from edgecvx.report.join import join
    from edgecvx.report.read import read
    from edgecvx.results.figures import counted

    places = _places(results, out, html, markdown, csv, table)
    check_outputs(places)
    found = read(results)
    show.warnings(found.warnings)
    joined = join(found.validations, found.benchmarks, title=title, files=found.files, warnings=found.warnings)
    forms = {"html": lambda: page(joined), "markdown": lambda: as_markdown(joined), "csv": lambda: as_csv(joined)}
    written = write(places, forms)
    if table:
        typer.echo(as_table(joined), nl=False)
    else:
        kinds = ((found.validations, "validation"), (found.benchmarks, "benchmark"))
        names = " and ".join(counted(len(values), name) for values, name in kinds if values)
        show.out.print(f"{names}, joined:", highlight=False)
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
