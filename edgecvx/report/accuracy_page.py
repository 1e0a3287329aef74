"""The report as one HTML page: everything a person looks at, in a file that can be mailed.

Here a validation becomes the words and plots of the page; how they look stands in ``assets/report.html.j2``. The page
runs no script and loads nothing, which its own content security policy also holds browsers to.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgecvx.accuracy.layers.compare import ranked, suspects
from edgecvx.report import accuracy_plots as plots
from edgecvx.report import svg
from edgecvx.report.rendering import render
from edgecvx.results.accuracy import ArtifactOutcome, Finding, LayerError, Loss, Validation
from edgecvx.results.figures import (
    ABSENT,
    VERDICTS,
    cosine,
    count,
    counted,
    decibels,
    megabytes,
    p_value,
    percent,
    points,
    sentence,
    small,
    span,
)

TEMPLATE = "report.html.j2"
COLUMNS = ("top-1 FP32", "top-1 file", "change, points", "flips", "SQNR", "size")
RANKED_SHOWN = 8
CLASSES_SHOWN = 10

Pairs = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """One artifact as the template takes it: text, and SVG where the name says so in ``SVG_FIELDS``."""

    identity: Any
    verdict: Any
    described: str
    reason: str
    error: str | None
    findings: tuple[Mapping[str, str], ...]
    cells: tuple[str, ...]
    facts: tuple[tuple[str, str, str], ...]
    top1: bool
    top1_pictures: str
    matrix: Mapping[str, str]
    running_wide: str
    running_narrow: str
    cosines: Pairs
    confidence: str
    classes: str
    depth_wide: str
    depth_narrow: str
    layers_told: str
    suspects: bool
    ranked: tuple[Mapping[str, Any], ...]
    losses: tuple[Mapping[str, str], ...]
    details: Pairs

    @property
    def has_plots(self) -> bool:
        """Whether there are plots of half a page."""
        return bool(self.top1 or self.cosines or self.confidence or self.classes)


def page(validation: Validation, thumbnails: Mapping[str, bytes]) -> str:
    """The page.

    Args:
        validation: What was measured.
        thumbnails: Picture name -> a small JPEG or PNG of it, for the pictures behind the biggest losses.

    Raises:
        RuntimeUnavailableError: Jinja2 is not installed.
    """
    rows = _forest_rows(validation)
    return render(
        TEMPLATE,
        {
            "v": validation,
            "verdicts": VERDICTS,
            "headline": headline(validation),
            "lead": lead(validation),
            "columns": COLUMNS,
            "artifacts": [_section(outcome, thumbnails) for outcome in validation.artifacts],
            "forest_wide": plots.forest(rows, width=svg.WIDE) if rows else "",
            "forest_narrow": plots.forest(rows, width=svg.NARROW) if rows else "",
            "forest_told": f"Percentage points, with 95% intervals. {gate(validation)}",
            "gate": gate(validation),
            "warnings": [sentence(warning) for warning in validation.warnings],
            "data": _data(validation),
        },
    )


def headline(validation: Validation) -> str:
    """What came out, in one line."""
    kinds = [outcome.verdict.kind for outcome in validation.artifacts]
    files = counted(len(kinds), "file")
    if not kinds:
        return "No file was validated"
    if set(kinds) == {"pass"}:
        return "The file keeps its accuracy" if len(kinds) == 1 else f"All {files} keep their accuracy"
    if set(kinds) == {"none"}:
        return f"{files}, compared without a verdict"
    if set(kinds) == {"undecided"}:
        return "Too few pictures to decide"
    if len(kinds) == 1:
        return {
            "fail": "The file loses too much accuracy",
            "error": "The file could not be run",
        }[kinds[0]]
    passed = kinds.count("pass")
    return f"{passed} of {files} keep{'s' if passed == 1 else ''} the accuracy" if passed else f"None of {files} passes"


def lead(validation: Validation) -> str:
    """What was compared with what, on what."""
    models = dict.fromkeys(o.reference.model for o in validation.artifacts if o.reference is not None)
    against = f", against {' and '.join(models)} in FP32" if models else ""
    d = validation.data
    pictures = counted(d.chosen, "drawn picture") if d.kind == "demo" else f"{counted(d.chosen, 'picture')} of {d.name}"
    return f"{pictures}{against}."


def gate(validation: Validation) -> str:
    """What every file has to reach."""
    return f"The gate: {validation.gate.text}."


def _forest_rows(validation: Validation) -> list[plots.ForestRow]:
    return [
        plots.ForestRow(
            label=outcome.identity.file,
            verdict=outcome.verdict.kind,
            delta=outcome.top1.delta,
            interval=outcome.top1.interval,
            allowed_drop=outcome.verdict.allowed_drop,
        )
        for outcome in validation.artifacts
        if outcome.top1 is not None
    ]


def _section(o: ArtifactOutcome, thumbnails: Mapping[str, bytes]) -> Section:
    found = suspects(o.layers)
    top1 = o.top1
    return Section(
        identity=o.identity,
        verdict=o.verdict,
        described=_described(o),
        reason=sentence(o.verdict.reason),
        error=sentence(o.error) if o.error else None,
        findings=tuple({"sentence": sentence(f.sentence), "evidence": _evidence(f)} for f in o.findings),
        cells=_cells(o),
        facts=tuple(_facts(o)),
        top1=top1 is not None,
        top1_pictures=counted(top1.reference.pictures, "picture") if top1 else "",
        matrix={name: count(getattr(top1, name)) for name in ("both_right", "lost", "gained", "both_wrong") if top1},
        running_wide=_running(o, svg.WIDE),
        running_narrow=_running(o, svg.NARROW),
        cosines=tuple((output.name, plots.cosine_histogram(output.cosine_histogram)) for output in o.outputs),
        confidence=plots.confidence_histogram(o.answers.confidence_histogram) if o.answers else "",
        classes=plots.class_changes(o.worst_classes[:CLASSES_SHOWN]) if o.worst_classes else "",
        depth_wide=plots.depth(o.layers, found, width=svg.WIDE) if o.layers else "",
        depth_narrow=plots.depth(o.layers, found, width=svg.NARROW) if o.layers else "",
        layers_told=_layers_told(o.layers, found),
        suspects=bool(found),
        ranked=tuple(_ranked(o.layers, found)),
        losses=tuple(_loss(loss, thumbnails) for loss in o.losses),
        details=_details(o),
    )


def _running(o: ArtifactOutcome, width: int) -> str:
    return plots.running(o.running, o.verdict.allowed_drop, width=width) if len(o.running) > 1 else ""


def layers_told(layers: Sequence[LayerError], found: Sequence[LayerError]) -> str:
    """What the figures of the inner tensors say, in a sentence."""
    if found:
        names = ", ".join(layer.name for layer in found[:3])
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        return f"Far more error than usual for its kind is born in {names}{more}."
    worst = ranked(layers)[0]
    return f"No layer stands out; the most is born in {worst.name}, {decibels(worst.local_sqnr_db)}."


def _layers_told(layers: Sequence[LayerError], found: Sequence[LayerError]) -> str:
    """The same beside the plot, which has to explain its upper edge."""
    if not layers:
        return ""
    same = any(layer.local_sqnr_db is None for layer in layers)
    return layers_told(layers, found) + (" What lies on the upper edge is identical." if same else "")


def _described(o: ArtifactOutcome) -> str:
    i = o.identity
    version = f" {i.runtime_version}" if i.runtime_version else ""
    where = "" if o.recheck is None else f" {sentence(o.recheck.sentence)}"
    return (
        f"{i.model}, {i.precision} for {i.target}, run in {i.runtime}{version}; {megabytes(i.bytes)}, "
        f"{counted(o.pictures, 'picture')}.{where}"
    )


def _evidence(finding: Finding) -> str:
    return (
        f"On {counted(finding.pictures, 'picture')} it is {decibels(finding.sqnr_as_is_db)} from the reference, and "
        f"{decibels(finding.sqnr_explained_db)} from a reference that makes the same mistake."
    )


def _cells(o: ArtifactOutcome) -> tuple[str, ...]:
    return (
        percent(o.top1.reference.value) if o.top1 else ABSENT,
        percent(o.top1.artifact.value) if o.top1 else ABSENT,
        f"{points(o.top1.delta)} {span(o.top1.interval)}" if o.top1 else ABSENT,
        count(o.answers.flips) if o.answers else ABSENT,
        decibels(o.outputs[0].sqnr_db) if o.outputs else ABSENT,
        megabytes(o.identity.bytes),
    )


def _facts(o: ArtifactOutcome) -> list[tuple[str, str, str]]:
    facts = []
    for paired in (o.top1, o.top5):
        if paired is not None:
            change = f"was {percent(paired.reference.value)}; {points(paired.delta)} {span(paired.interval)}"
            facts.append((f"top-{paired.top}", percent(paired.artifact.value), change))
    if o.answers is not None:
        flips = o.top1 and f"{count(o.top1.lost)} lost, {count(o.top1.gained)} gained"
        facts.append(("flips", count(o.answers.flips), flips or "another class first"))
    if o.top1 is not None:
        facts.append(("McNemar", p_value(o.top1.p_value), "lost against gained"))
    for output in o.outputs:
        of = f" of {output.name}" if len(o.outputs) > 1 else ""
        facts.append((f"cosine{of}", cosine(output.cosine_mean), f"smallest {cosine(output.cosine_min)}"))
        facts.append((f"SQNR{of}", decibels(output.sqnr_db), f"largest error {small(output.max_error)}"))
    if o.answers is not None:
        facts.append(("KL divergence", small(o.answers.kl_mean), f"largest {small(o.answers.kl_max)} nats"))
    return facts


def _ranked(layers: Sequence[LayerError], found: Sequence[LayerError]) -> list[dict[str, Any]]:
    suspected = {layer.name for layer in found}
    return [
        {
            "name": layer.name,
            "kind": layer.kind,
            "local": decibels(layer.local_sqnr_db),
            "sqnr": decibels(layer.sqnr_db),
            "channel": f"{layer.channel} ({percent(layer.channel_share, 0)})" if layer.channel_share else ABSENT,
            "suspect": layer.name in suspected,
            "not_finite": counted(layer.not_finite, "value is", "values are") + " not finite"
            if layer.not_finite
            else "",
        }
        for layer in ranked(layers)[:RANKED_SHOWN]
    ]


def _loss(loss: Loss, thumbnails: Mapping[str, bytes]) -> dict[str, str]:
    image = thumbnails.get(loss.picture)
    truth = loss.truth_label if loss.truth_label is not None else "" if loss.truth is None else f"class {loss.truth}"
    return {
        "picture": loss.picture,
        "image": _data_uri(image) if image else "",
        "truth": truth,
        "reference": f"{loss.reference.label}, {percent(loss.reference.probability, 0)}",
        "artifact": f"{loss.artifact.label}, {percent(loss.artifact.probability, 0)}",
    }


def _data_uri(image: bytes) -> str:
    kind = "png" if image.startswith(b"\x89PNG") else "jpeg"
    return f"data:image/{kind};base64,{base64.b64encode(image).decode()}"


def _details(o: ArtifactOutcome) -> Pairs:
    i = o.identity
    known: dict[str, str | None] = {
        "model": i.model,
        "task": i.task.value,
        "target": f"{i.target} ({i.format})",
        "precision": i.precision,
        "runtime": f"{i.runtime} {i.runtime_version or '(not installed here)'}",
        "size": f"{count(i.bytes)} bytes",
        "SHA-256 over its files": i.sha256,
    }
    if o.reference is not None:
        r = o.reference
        known |= {
            "reference": f"{r.model}, unfolded, PyTorch {r.torch}",
            "weights": f"{r.weights.kind} {r.weights.ref}, SHA-256 {r.weights.sha256}",
            "licence": r.weights.license,
            "preprocessing": f"{r.preprocess.resize} to {r.preprocess.resized}, crop {r.preprocess.size}, "
            f"{r.preprocess.interpolation}, mean {r.preprocess.mean}, std {r.preprocess.std}",
        }
    return tuple((name, value) for name, value in known.items() if value)


def _data(validation: Validation) -> Pairs:
    d = validation.data
    chosen = f"{count(d.chosen)} of {count(d.available)}" + (f", drawn with seed {d.seed}" if d.limit else "")
    rows = [
        ("data", f"{d.name} ({d.kind})"),
        ("pictures", chosen),
        ("excluded, used for calibration", count(d.excluded_calibration)),
        *((f"left out: {reason}", count(number)) for reason, number in d.skipped_reasons.items()),
        ("SHA-256 over pictures and labels", d.sha256),
    ]
    return tuple(rows)
