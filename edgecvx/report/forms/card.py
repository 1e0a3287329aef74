"""A model card: what some artifacts are, where they come from, how they were made, and what was measured of them.

Markdown under the header that model hubs read. Its facts are the manifests'; accuracy and latency are those of results
that are about these very bytes, found by SHA-256, and where there are none the card says so.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from edgecvx.manifest import Manifest
from edgecvx.report.forms.markdown import literal_text, table
from edgecvx.report.join import Report, Row
from edgecvx.results.figures import ABSENT, counted, decibels, megabytes, percent
from edgecvx.results.identity import identity_of
from edgecvx.spec import Task

Artifacts = Mapping[Path, Manifest]
"""What ``edgecvx export`` wrote: the path of each file, and its manifest."""

# fmt: off
LICENCES = frozenset((
    "afl-3.0", "agpl-3.0", "apache-2.0", "artistic-2.0", "bsd", "bsd-2-clause", "bsd-3-clause", "bsl-1.0", "cc",
    "cc0-1.0", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0", "cc-by-nc-4.0",
    "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0",
    "cc-by-sa-3.0", "cc-by-sa-4.0", "epl-1.0", "epl-2.0", "eupl-1.1", "gpl", "gpl-2.0", "gpl-3.0", "isc", "lgpl",
    "lgpl-2.1", "lgpl-3.0", "mit", "mpl-2.0", "openrail", "openrail++", "osl-3.0", "unlicense", "zlib",
))
# fmt: on
"""The names hubs know. They refuse a header with another one, which therefore stands beside ``other``."""
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+", re.ASCII)


def card(artifacts: Artifacts, report: Report | None = None) -> str:
    """The card of one model's artifacts.

    Args:
        artifacts: At least one; all of one model.
        report: What validations and benchmarks say; what is about other files is left out.
    """
    manifests = list(artifacts.values())
    first = manifests[0].model
    lines = [*_header(manifests[0]), f"# {literal_text(first.name)}", "", _what(manifests[0]), ""]
    lines += ["## Files", "", *_files(artifacts), "", "## How it was made", "", *_made(manifests), ""]
    return "\n".join([*lines, "## Measured", "", _measured(artifacts, report), "", *_limits(manifests[0]), ""])


def card_name(artifacts: Artifacts) -> str:
    """What a card is called beside its files: ``convnextv2_femto.demo-224.card.md``."""
    model = next(iter(artifacts.values())).model
    return f"{model.name}-{model.preprocess.size}.card.md"


def _header(manifest: Manifest) -> Iterator[str]:
    """YAML as hubs read it; values are JSON texts, which YAML reads as they are."""
    weights, classify = manifest.model.weights, manifest.task is Task.CLASSIFY
    yield "---"
    yield from _licence(weights.license)
    yield "library_name: edgecvx"
    yield f"pipeline_tag: {'image-classification' if classify else 'image-feature-extraction'}"
    yield "tags: [edgecvx, convnext, quantization, edge]"
    if weights.kind == "imagenet" and HUB_ID.fullmatch(weights.ref):
        yield f"base_model: {json.dumps(weights.ref)}"
    yield "---"
    yield ""


def _licence(name: str | None) -> Iterator[str]:
    if name is None or name.lower() in LICENCES:
        yield f"license: {json.dumps(name.lower() if name else 'unknown')}"
        return
    yield 'license: "other"'
    yield f"license_name: {json.dumps(name)}"


def _what(manifest: Manifest) -> str:
    model, prepared = manifest.model, manifest.model.preprocess
    returns = {
        Task.CLASSIFY: f"the logits of {counted(model.num_classes, 'class', 'classes')}",
        Task.FEATURES: "the feature maps of its four stages",
        Task.EMBED: "the pooled, normalized vector",
    }[manifest.task]
    return (
        f"{literal_text(model.arch.name)} for {prepared.size} x {prepared.size} pixels. It returns {returns}. Pictures "
        f"are resized ({prepared.resize}, {prepared.interpolation}, crop {prepared.crop_pct:g}) and normalized with "
        f"mean {_numbers(prepared.mean)} and deviation {_numbers(prepared.std)}; the manifest of each file says it all."
    )


def _files(artifacts: Artifacts) -> Iterator[str]:
    yield "| file | precision | runtime | size | SHA-256 |"
    yield "|---|---|---|--:|---|"
    for manifest in artifacts.values():
        for entry in manifest.files:
            cells = literal_text(entry.path), manifest.precision.value, manifest.runtime, megabytes(entry.bytes)
            yield f"| {' | '.join(cells)} | `{entry.sha256}` |"


def _made(manifests: Sequence[Manifest]) -> Iterator[str]:
    weights, tools = manifests[0].model.weights, manifests[0].tools
    licence = literal_text(weights.license or "unknown")
    yield f"- Weights: {weights.kind}, {literal_text(weights.ref)}, licence {licence},"
    yield f"  SHA-256 `{weights.sha256}`."
    yield f"- Exported with {literal_text(', '.join(f'{name} {version}' for name, version in tools.items()))}."
    for manifest in manifests:
        check, against = manifest.self_check, "its plan" if manifest.self_check.against == "plan" else "FP32 PyTorch"
        yield (
            f"- {literal_text(manifest.artifact_name)} was run in {literal_text(check.runtime)} on "
            f"{counted(check.probes, 'picture')} and is within {check.max_error:.1e} of {against}; its folds: "
            f"{literal_text(', '.join(manifest.folds) or 'none')}."
        )
        if q := manifest.quantized:
            yield f"  {_quantized(q.engine, q.int8_macs, q.sqnr)}{_calibrated(manifest)}."


def _quantized(engine: str, share: float | None, sqnr: float | None) -> str:
    parts = [f"Scales by {literal_text(engine)}"]
    parts += [f"{percent(share, 0)} of the multiply-accumulates in INT8"] if share is not None else []
    return ", ".join([*parts, *([f"{decibels(sqnr)} against FP32"] if sqnr is not None else [])])


def _calibrated(manifest: Manifest) -> str:
    seen = manifest.quantized.calibration if manifest.quantized else None
    return f", calibrated on {counted(seen.count, 'picture')} ({literal_text(seen.name)})" if seen else ""


def _measured(artifacts: Artifacts, report: Report | None) -> str:
    found = report and _about(artifacts, report)
    if not found or not found.rows:
        return (
            "Nothing was measured of these files: `edgecvx validate` says how accurate they are, `edgecvx bench` how "
            "fast."
        )
    changes = [_change(row) for row in {row.identity.sha256: row for row in found.rows}.values() if row.paired]
    return "\n".join([table(found).rstrip(), "", *changes]).rstrip()


def _about(artifacts: Artifacts, report: Report) -> Report:
    """What a report says of these bytes."""
    ours = {identity_of(path, manifest, None).sha256 for path, manifest in artifacts.items()}

    def kept(rows: Sequence[Row]) -> tuple[Row, ...]:
        return tuple(row for row in rows if row.identity.sha256 in ours)

    devices = [dataclasses.replace(device, rows=kept(device.rows)) for device in report.devices]
    return dataclasses.replace(
        report,
        devices=tuple(device for device in devices if device.rows),
        unmeasured=kept(report.unmeasured),
        accuracies={sha256: a for sha256, a in report.accuracies.items() if sha256 in ours},
    )


def _change(row: Row) -> str:
    """Top-1 with its own interval, and what it was."""
    paired = row.paired
    if paired is None:
        return ABSENT
    sure, was = paired.artifact.interval, paired.reference.value
    return (
        f"- {literal_text(row.identity.file)}: top-1 {percent(paired.artifact.value)} (95% interval "
        f"{percent(sure.low)} to {percent(sure.high)}) where FP32 has {percent(was)}, over "
        f"{counted(paired.artifact.pictures, 'picture')}."
    )


def _limits(manifest: Manifest) -> Iterator[str]:
    kind = manifest.model.weights.kind
    if kind in ("demo", "random"):
        yield "## Not for use"
        yield ""
        told = "were trained on drawn pictures and know nothing else" if kind == "demo" else "are random"
        yield f"The weights {told}: these files show sizes and times, and recognize nothing in a photograph."
    elif manifest.model.weights.noncommercial:
        yield "## Licence"
        yield ""
        yield "The weights' licence forbids commercial use."


def _numbers(values: Sequence[float]) -> str:
    return ", ".join(f"{v:g}" for v in values)
