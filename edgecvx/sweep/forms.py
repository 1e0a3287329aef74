"""The table over all cells of a sweep, on a terminal, in Markdown and on the page: one content, three looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from edgecvx.report.markup import Html, render
from edgecvx.results.figures import ABSENT, VERDICTS, counted, decibels, megabytes, milliseconds, percent, points, span
from edgecvx.results.texts import literal
from edgecvx.sweep.result import CellAccuracy, CellLatency, CellResult, GateOutcome, SweepResult

if TYPE_CHECKING:
    from rich.console import RenderableType

_ORDER = ("fail", "undecided", "pass")
"""Which verdict stands for several: the worst."""
_TEMPLATE = """\
<h3>Every cell of the sweep</h3>
<p class="soft">{{ summary }}</p>
<div class="scroll stack" tabindex="0" role="region" aria-label="Every cell of the sweep">
<table class="runs-table">
  <thead><tr><th scope="col">file</th><th scope="col">gates</th>
  {%- for name in names %}<th scope="col" class="num">{{ name }}</th>{% endfor %}</tr></thead>
  <tbody>
  {%- for line in lines %}
  <tr><th scope="row"><span class="name">{{ line.name }}</span></th>
    <td data-name="gates">{{ sign(line.verdict) }}</td>
    {%- for cell in line.cells %}<td class="num{{ " absent" if cell == absent }}" data-name="{{ names[loop.index0] }}">
      <span>{{ cell }}</span></td>{% endfor %}</tr>
  {%- endfor %}
  </tbody>
</table>
</div>
{%- for title, texts in remarks %}
<h3>{{ title }}</h3>
{{ items(texts) }}
{%- endfor %}
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One file in the table."""

    name: str
    verdict: str
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """What every form shows."""

    names: tuple[str, ...]
    lines: tuple[Line, ...]
    summary: str
    remarks: tuple[tuple[str, tuple[str, ...]], ...]
    """Lists below it: what failed, what is missing, what was left out."""


def table_of(result: SweepResult) -> Table:
    """A sweep as a table; a column for all data and each device that any cell has figures of."""
    data = list(dict.fromkeys(a.data for cell in result.cells for a in cell.accuracy))
    timed = list(dict.fromkeys(_how(t) for cell in result.cells for t in cell.latency))
    names = ["size"]
    for name in data:
        names += [f"{name}: top-1", "change", "95% interval", "SQNR"]
    names += [f"{how}: p50" for how in timed]
    lines = [_line(cell, data, timed, result.gates) for cell in result.cells]
    return Table(names=tuple(names), lines=tuple(lines), summary=summary(result), remarks=tuple(_remarks(result)))


def summary(result: SweepResult) -> str:
    """One sentence: how many files, how the gates went, what is missing."""
    made = sum(cell.file is not None for cell in result.cells)
    parts = [f"{made} of {counted(len(result.cells), 'file')} made"]
    for verdict in _ORDER if result.gates else ():
        number = sum(gate.verdict == verdict for gate in result.gates)
        if number:
            words = {"fail": "failed", "undecided": "undecided", "pass": "passed"}
            parts.append(f"{counted(number, 'gate')} {words[verdict]}")
    if result.missing:
        parts.append(f"{counted(len(result.missing), 'job')} missing")
    return f"{result.name}: " + ", ".join(parts) + "."


def _line(cell: CellResult, data: Sequence[str], timed: Sequence[str], gates: Sequence[GateOutcome]) -> Line:
    cells = [megabytes(cell.bytes) if cell.bytes is not None else ABSENT]
    for name in data:
        cells += _accuracy(next((a for a in cell.accuracy if a.data == name), None))
    cells += [_latency(next((t for t in cell.latency if _how(t) == how), None)) for how in timed]
    return Line(name=cell.name, verdict=_verdict(cell, gates), cells=tuple(cells))


def _how(timed: CellLatency) -> str:
    """A column of times: options matter, and the runtime is that of the file."""
    threads = "" if timed.threads is None else f", {counted(timed.threads, 'thread')}"
    _, _, options = timed.runtime.partition(":")
    return timed.device + threads + (f", {options}" if options else "")


def _accuracy(accuracy: CellAccuracy | None) -> tuple[str, str, str, str]:
    if accuracy is None:
        return ABSENT, ABSENT, ABSENT, ABSENT
    noise = decibels(accuracy.sqnr_db)
    if accuracy.top1 is None or accuracy.delta is None or accuracy.interval is None:
        return ABSENT, ABSENT, ABSENT, noise
    return percent(accuracy.top1), points(accuracy.delta), span(accuracy.interval), noise


def _latency(timed: CellLatency | None) -> str:
    if timed is None:
        return ABSENT
    if timed.error is not None:
        return "error"
    if timed.p50 is not None:
        return milliseconds(timed.p50, timed.interval)
    return f"mean {milliseconds(timed.mean)}" if timed.mean is not None else ABSENT


def _verdict(cell: CellResult, gates: Sequence[GateOutcome]) -> str:
    """Of all gates of a cell; a file that is not there is an error."""
    if cell.file is None:
        return "error"
    kinds = {gate.verdict for gate in gates if gate.cell == cell.name}
    return next((verdict for verdict in _ORDER if verdict in kinds), "none")


def _remarks(result: SweepResult) -> Iterator[tuple[str, tuple[str, ...]]]:
    for verdict, title in (("fail", "Gates that failed"), ("undecided", "Gates that are undecided")):
        if texts := tuple(_gate(gate) for gate in result.gates if gate.verdict == verdict):
            yield title, texts
    errors = [f"{cell.name} on {t.device}: {t.error}" for cell in result.cells for t in cell.latency if t.error]
    if texts := (*(f"{missing.name}: {missing.reason}" for missing in result.missing), *errors):
        yield "Missing", texts
    if texts := tuple(f"{left.name}: {left.reason}" for left in result.left_out):
        yield "Left out", texts


def _gate(gate: GateOutcome) -> str:
    return f"{gate.cell}{f' on {gate.on}' if gate.on else ''} ({gate.kind} {gate.limit:g}): {gate.sentence}"


def html(result: SweepResult) -> Html:
    """For the top of the page."""
    table = table_of(result)
    return render(
        _TEMPLATE,
        names=table.names,
        lines=table.lines,
        summary=table.summary,
        remarks=table.remarks,
    )


def markdown(result: SweepResult) -> str:
    """For the top of the Markdown."""
    table = table_of(result)
    rows = [("file", "gates", *table.names), ("---", "---", *("--:" for _ in table.names))]
    rows += [
        (literal(line.name), " ".join(VERDICTS[line.verdict]), *map(literal, line.cells))  # type: ignore[index]
        for line in table.lines
    ]
    lines = [f"# {literal(result.name)}", "", literal(table.summary), ""]
    lines += ["| " + " | ".join(row) + " |" for row in rows]
    for title, texts in table.remarks:
        lines += ["", f"**{title}**", "", *(f"- {literal(text)}" for text in texts)]
    return "\n".join([*lines, ""])


def terminal(result: SweepResult) -> RenderableType:
    """For the end of ``edgecvx sweep``."""
    from rich import box
    from rich.console import Group
    from rich.table import Table as RichTable
    from rich.text import Text

    table = table_of(result)
    colours = {"pass": "green", "fail": "red", "undecided": "yellow", "error": "red", "none": "dim"}
    shown = RichTable(box=box.SIMPLE_HEAD)
    shown.add_column("file", overflow="fold", min_width=20)
    shown.add_column("gates", no_wrap=True)
    for name in table.names:
        shown.add_column(Text(name), justify="right")
    for line in table.lines:
        sign = Text(" ".join(VERDICTS[line.verdict]), style=colours[line.verdict])  # type: ignore[index]
        shown.add_row(Text(line.name), sign, *map(Text, line.cells))
    parts: list[RenderableType] = [Text(table.summary, style="bold"), shown]
    for title, texts in table.remarks:
        style = "dim" if title == "Left out" else "yellow" if "undecided" in title else "red"
        parts += [Text(title, style="bold"), *(Text(f"  {text}", style=style) for text in texts)]
    return Group(*parts)
