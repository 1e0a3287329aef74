"""A search as one page, Markdown and JSON: the front, where time and answers come from, why, and what comes next."""

from __future__ import annotations

import importlib.util
from functools import partial
from pathlib import Path

from edgecvx.files import write_atomically
from edgecvx.report.markup import Html, figure, render
from edgecvx.results.texts import literal
from edgecvx.tune.report import plots, words
from edgecvx.tune.report.values import DeviceResult, Tuned, as_json

TEMPLATE = "tune.html.j2"
KEYS = (("arrived", "measured"), ("born", "predicted"))
RESULT = "tune.json"


def write_reports(out: Path, tuned: Tuned) -> None:
    """Writes ``tune.json``, ``report.md``, and ``report.html`` where Jinja2 is installed."""
    write_atomically(out / RESULT, as_json(tuned).encode())
    write_atomically(out / "report.md", markdown(tuned).encode("utf-8", "backslashreplace"))
    if importlib.util.find_spec("jinja2") is not None:
        write_atomically(out / "report.html", page(tuned).encode("utf-8", "backslashreplace"))


def page(tuned: Tuned) -> str:
    """The whole page; it runs no script and loads nothing.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    return render(
        TEMPLATE,
        tuned=tuned,
        title=words.title(tuned),
        lead=words.lead(tuned),
        devices=[(device, _plot(device, tuned), words.ordered(device.rows)) for device in tuned.devices],
        columns=words.COLUMNS,
        words=words,
    )


def _plot(device: DeviceResult, tuned: Tuned) -> Html | None:
    if len(plots.placed(device.rows)) < 2:
        return None
    caption = (
        "Left is faster, up is more often right. Dots were measured, with their 95% intervals, upright of the change "
        "against FP32; diamonds are predictions of files that did not race."
    )
    draw = partial(plots.candidates, device, tuned.limits.get("max_p50"))
    return figure("All candidates", caption, draw)


def markdown(tuned: Tuned) -> str:
    """For whoever reads results in a repository."""
    lines = [f"# {literal(words.title(tuned))}", "", literal(words.lead(tuned)), ""]
    for device in tuned.devices:
        lines += _device(device)
    lines += ["## What it cost", "", "| stage | what | time |", "| --- | --- | --: |"]
    lines += [f"| {s.name} | {literal(s.what)} | {words.duration(s.seconds)} |" for s in tuned.stages]
    lines += [f"\n{literal(warning)}" for warning in tuned.warnings]
    return "\n".join([*lines, ""])


def _device(device: DeviceResult) -> list[str]:
    lines = [f"## {literal(device.device)}", "", f"**{literal(device.ending.sentence)}**", "", literal(device.what), ""]
    lines += _table(
        ("file", "", *words.COLUMNS), [(r.name, r.why, *words.cells(r)) for r in words.ordered(device.rows)]
    )
    if device.next_limits:
        lines += ["What the next limit would buy:", "", *(f"- {literal(n.sentence)}" for n in device.next_limits), ""]
    if device.misses:
        lines += ["Prediction and measurement:", ""]
        lines += _table(
            ("file", "predicted", "measured", "off", "mended"), [(m.name, *words.miss(m)) for m in device.misses]
        )
    for account in device.accounts:
        lines += [f"Block by block: {literal(account.of)}", ""]
        lines += _table(("block", "time", "part of the loss", ""), words.account(account))
    return lines


def _table(header: tuple[str, ...], rows: list[tuple[str, ...]]) -> list[str]:
    lines = ["| " + " | ".join(header) + " |", "| " + " | ".join("---" for _ in header) + " |"]
    return [*lines, *("| " + " | ".join(map(literal, row)) + " |" for row in rows), ""]
