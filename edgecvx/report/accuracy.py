"""A validation as people and programs read it: a terminal, JSON, Markdown, and one HTML page.

All four say the same, from the same values and in the same words (``edgecvx.results.figures``). Nothing here prints or
writes: the terminal's tables come back as Rich renderables, the rest as text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgecvx.accuracy.layers.compare import ranked, suspects
from edgecvx.errors import EdgecvxError
from edgecvx.report.accuracy_page import gate, headline, layers_told, lead, page
from edgecvx.results.accuracy import ArtifactOutcome, DataInfo, LayerError, Validation, VerdictKind
from edgecvx.results.figures import (
    ABSENT,
    VERDICTS,
    cosine,
    count,
    counted,
    decibels,
    p_value,
    percent,
    points,
    sentence,
    small,
    span,
)
from edgecvx.results.texts import literal, writable
from edgecvx.spec import from_json, to_json

if TYPE_CHECKING:
    from rich.console import Group, RenderableType
    from rich.table import Table
    from rich.text import Text

SCHEMA_FILE = "validation.schema.json"
"""In ``edgecvx/assets``: the JSON schema of ``as_json``, made by ``edgecvx.results.schema``."""
LAYERS_SHOWN, CLASSES_SHOWN, LOSSES_SHOWN = 6, 5, 5
"""Lines of each list in a terminal; JSON and HTML have more."""
LEFT_OUT_SHOWN = 10
"""Entries of the data that Markdown names."""
COLOURS: Mapping[VerdictKind, str] = MappingProxyType(
    {"pass": "green", "fail": "red", "undecided": "yellow", "none": "dim", "error": "red"}
)


def as_json(validation: Validation) -> str:
    """The validation as JSON, one object by the schema in ``assets``; ``read_json`` takes it back."""
    return writable(json.dumps(to_json(validation), indent=2, ensure_ascii=False, allow_nan=False)) + "\n"


def read_json(text: str) -> Validation:
    """The validation that ``as_json`` wrote.

    Raises:
        EdgecvxError: The text is something else.
    """
    try:
        data = json.loads(text)
    except (json.JSONDecodeError, RecursionError) as error:
        raise EdgecvxError(f"this is not the JSON of a validation ({error})") from error
    return from_json(Validation, data, where="validation")


def html(validation: Validation, thumbnails: Mapping[str, bytes] = MappingProxyType({})) -> str:
    """The validation as one self-contained HTML page.

    Args:
        validation: What was measured.
        thumbnails: Picture name -> a small JPEG or PNG of it, for the pictures behind the biggest losses.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    return page(validation, thumbnails)


# --- terminal -------------------------------------------------------------------------------------------------------


def terminal(validation: Validation) -> Group:
    """The validation for a terminal: one line per artifact, then what there is to say about each."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [
        Text(headline(validation), style="bold"),
        Text(f"{lead(validation)} {gate(validation)}", style="dim"),
        _overview(validation),
    ]
    for outcome in validation.artifacts:
        parts.extend(_remarks(outcome))
    return Group(*parts)


def errors_of(validation: Validation) -> Iterator[str]:
    """What could not be measured, and why, a sentence each."""
    for o in validation.artifacts:
        if o.error is not None:
            yield o.error if o.identity.file in o.error else f"{o.identity.file}: {o.error}"


def _overview(validation: Validation) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("file", overflow="fold", min_width=20)
    table.add_column("verdict", no_wrap=True)
    for name in ("FP32", "file", "change", "95% interval", "flips", "SQNR"):
        table.add_column(name, justify="right", no_wrap=True)
    for o in validation.artifacts:
        sign, word = VERDICTS[o.verdict.kind]
        table.add_row(Text(o.identity.file), Text(f"{sign} {word}", style=COLOURS[o.verdict.kind]), *map(Text, _row(o)))
    return table


def _row(o: ArtifactOutcome) -> tuple[str, ...]:
    top1 = o.top1
    rates = (
        (percent(top1.reference.value), percent(top1.artifact.value), points(top1.delta), span(top1.interval))
        if top1
        else (ABSENT,) * 4
    )
    flips = count(o.answers.flips) if o.answers else ABSENT
    return (*rates, flips, decibels(o.outputs[0].sqnr_db) if o.outputs else ABSENT)


def _remarks(o: ArtifactOutcome) -> Iterator[RenderableType]:
    """What a person should know about one artifact, as paragraphs and short tables."""
    from rich.text import Text

    yield Text.assemble((o.identity.file, "bold"), "  ", (o.verdict.reason, COLOURS[o.verdict.kind]))
    for told in (o.error, *(finding.sentence for finding in o.findings)):
        if told is not None and told not in o.verdict.reason:  # the reason is often the first of them
            yield Text(f"  {told}", style="red")
    if line := agreement(o):
        yield Text(f"  {line}", style="dim")
    if o.recheck is not None:
        yield Text(f"  {o.recheck.sentence}", style="dim")
    if o.worst_classes:
        yield Text("  worst classes: " + "; ".join(_class_lines(o)), style="dim")
    if o.losses:
        yield Text("  biggest losses: " + "; ".join(_loss_lines(o)), style="dim")
    if o.layers:
        yield from _layers(o.layers)
    yield Text("")


def _layers(layers: Sequence[LayerError]) -> Iterator[Table | Text]:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    found = suspects(layers)
    yield Text(f"  {layers_told(layers, found)}", style="red" if found else "dim")
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("layer", overflow="fold")
    table.add_column("what it is", no_wrap=True)
    for name in ("born here", "in total", "worst channel"):
        table.add_column(name, justify="right", no_wrap=True)
    for layer in ranked(layers)[:LAYERS_SHOWN]:
        channel = f"{layer.channel} ({percent(layer.channel_share, 0)})" if layer.channel_share else ABSENT
        figures = (layer.name, layer.kind, decibels(layer.local_sqnr_db), decibels(layer.sqnr_db), channel)
        table.add_row(*map(Text, figures), style="red" if layer in found else None)
    yield table


def agreement(o: ArtifactOutcome) -> str:
    """How close the outputs are, in a line; empty where there are none."""
    parts = []
    if o.top5 is not None:
        parts.append(f"top-5 {percent(o.top5.artifact.value)}, {points(o.top5.delta)} {span(o.top5.interval)}")
    if o.top1 is not None:
        parts.append(f"{o.top1.lost} lost, {o.top1.gained} gained, McNemar {p_value(o.top1.p_value)}")
    if o.outputs:
        out = o.outputs[0]
        parts.append(f"cosine {cosine(out.cosine_mean)} (smallest {cosine(out.cosine_min)})")
        parts.append(f"largest error {small(out.max_error)}")
    if o.answers is not None:
        parts.append(f"KL {small(o.answers.kl_mean)} nats")
    return "; ".join(parts)


def _class_lines(o: ArtifactOutcome) -> list[str]:
    return [
        f"{c.label} {c.reference_correct} to {c.artifact_correct} of {c.pictures}"
        for c in o.worst_classes[:CLASSES_SHOWN]
    ]


def _loss_lines(o: ArtifactOutcome) -> list[str]:
    return [
        f"{loss.picture} ({loss.reference.label} {percent(loss.reference.probability, 0)}, "
        f"now {loss.artifact.label} {percent(loss.artifact.probability, 0)})"
        for loss in o.losses[:LOSSES_SHOWN]
    ]


# --- Markdown -------------------------------------------------------------------------------------------------------


def markdown(validation: Validation) -> str:
    """The validation as GitHub's Markdown, for a pull request or a release note."""
    lines = [
        f"## {headline(validation)}",
        "",
        f"{literal(lead(validation))} {literal(gate(validation))}",
        "",
        "| file | verdict | top-1 FP32 | top-1 file | change, points | 95% interval | flips | SQNR |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for o in validation.artifacts:
        sign, word = VERDICTS[o.verdict.kind]
        lines.append("| " + " | ".join([literal(o.identity.file), f"{sign} {word}", *_row(o)]) + " |")
    for warning in validation.warnings:
        lines += ["", f"> {literal(sentence(warning))}"]
    for o in validation.artifacts:
        lines += ["", f"### {literal(o.identity.file)}", "", literal(sentence(o.verdict.reason))]
        lines += [f"\n**{literal(sentence(text))}**" for text in (o.error, *(f.sentence for f in o.findings)) if text]
        if line := agreement(o):
            lines += ["", literal(line) + "."]
        if o.recheck is not None:
            lines += ["", literal(sentence(o.recheck.sentence))]
        if o.layers:
            lines += ["", *_layer_lines(o.layers)]
        if o.worst_classes:
            lines += ["", "Worst classes: " + literal("; ".join(_class_lines(o))) + "."]
    d = validation.data
    excluded = f", {counted(d.excluded_calibration, 'calibration picture')} excluded" if d.excluded_calibration else ""
    if d.skipped:
        lines += ["", _left_out(d)]
    lines += ["", f"<sub>edgecvx {literal(validation.edgecvx)}, data {d.sha256[:12]}{excluded}.</sub>", ""]
    return writable("\n".join(lines))


def _left_out(data: DataInfo) -> str:
    """Every entry that was not counted, by name; of many the first."""
    total = sum(data.skipped_reasons.values())
    named = [literal(f"{s.name} ({s.reason})") for s in data.skipped[:LEFT_OUT_SHOWN]]
    more = f"; and {count(total - len(named))} more" if total > len(named) else ""
    return f"{counted(total, 'entry', 'entries')} of the data left out: {'; '.join(named)}{more}."


def _layer_lines(layers: Sequence[LayerError]) -> list[str]:
    lines = [
        literal(layers_told(layers, suspects(layers))),
        "",
        "| layer | what it is | born here | in total |",
        "|---|---|--:|--:|",
    ]
    for layer in ranked(layers)[:LAYERS_SHOWN]:
        figures = (literal(layer.name), literal(layer.kind), decibels(layer.local_sqnr_db), decibels(layer.sqnr_db))
        lines.append("| " + " | ".join(figures) + " |")
    return lines


def schema() -> dict[str, Any]:
    """The JSON schema of ``as_json``, as it ships."""
    from importlib import resources

    text = (resources.files("edgecvx") / "assets" / SCHEMA_FILE).read_text(encoding="utf-8")
    found: dict[str, Any] = json.loads(text)
    return found
