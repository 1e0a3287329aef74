"""A report over validations and benchmarks: one HTML page, Markdown, a README's table, CSV.

All of them say the same, from the same values: what is joined and compared with what is ``dossier_join``'s business,
the words are ``dossier_words``' and ``dossier_remarks``'. Values in, text out; nothing here reads or writes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from edgecvx.report import csv as dossier_csv
from edgecvx.report import markdown as dossier_text
from edgecvx.report import page as dossier_html
from edgecvx.report.join import join
from edgecvx.results.accuracy import Validation
from edgecvx.results.latency import Benchmark


def page(
    validations: Iterable[Validation],
    benchmarks: Iterable[Benchmark],
    *,
    title: str | None = None,
    files: Sequence[str] = (),
    warnings: Sequence[str] = (),
) -> str:
    """The report as one self-contained HTML page, which runs no script and loads nothing.

    Args:
        validations: What ``edgecvx validate`` measured.
        benchmarks: What ``edgecvx bench`` measured; artifacts are joined with the validations by their SHA-256.
        title: Instead of the headline that the figures give.
        files: The names of the files all this was read from, for the page's provenance.
        warnings: Of the reading, to be shown among the page's own.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    return dossier_html.page(join(validations, benchmarks), title=title, files=files, warnings=warnings)


def markdown(validations: Iterable[Validation], benchmarks: Iterable[Benchmark], *, title: str | None = None) -> str:
    """The report as GitHub's Markdown."""
    return dossier_text.markdown(join(validations, benchmarks), title=title)


def table(validations: Iterable[Validation], benchmarks: Iterable[Benchmark]) -> str:
    """The tables alone, one per device, for a README."""
    return dossier_text.table(join(validations, benchmarks))


def csv(validations: Iterable[Validation], benchmarks: Iterable[Benchmark]) -> str:
    """One line per artifact, device and setting, in plain numbers with their units in the header."""
    return dossier_csv.table(join(validations, benchmarks))
