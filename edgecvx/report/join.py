"""Validations and benchmarks joined: what is known about each artifact on each device.

The rules (``docs/report.md`` gives the reasons):

- An artifact is its SHA-256. Of several validations of one artifact the one with the most pictures counts.
- A device is its fingerprint's id, and a part of its own: nothing ranks, divides or compares across two.
- A row is an artifact in a runtime, with its threads, batch and options; its newest measurement counts.
- Accuracies from different pictures never share an axis: each data set has a Pareto front of its own.
- An emulator's times say nothing about a device: no front, and nothing is recommended.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

from edgecvx.latency.warnings import baseline
from edgecvx.results.accuracy import ArtifactIdentity, ArtifactOutcome, DataInfo, Paired, Validation, VerdictKind
from edgecvx.results.latency import Benchmark, DeviceBench, Fingerprint, Measured, Ratio, Summary, percentile
from edgecvx.results.statistics import ratio_of
from edgecvx.results.texts import shorten
from edgecvx.spec import Calibration, WeightsSource
from edgecvx.web.visits.browsers import BROWSER_FACT

T = TypeVar("T")

FP32 = "fp32"
UNKNOWN = "unknown"
LABEL = 80
"""Characters of a label, at most."""
PLOTTED = 12
"""Artifacts whose accuracy is plotted one by one where devices were measured too: those that lose most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Accuracy:
    """What a validation says about an artifact."""

    key: str
    """Within the report, for links."""
    outcome: ArtifactOutcome
    validation: Validation
    others: int
    """Further validations of the same artifact, on fewer pictures."""
    plotted: bool
    """Whether a page has room for its plots."""
    thumbnails: Mapping[str, bytes]
    """Picture name -> a small JPEG or PNG of it, for the pictures behind the biggest losses."""

    @property
    def data(self) -> DataInfo:
        """The pictures."""
        return self.validation.data


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An artifact, and as far as it was measured: how it runs on this device, and how well it answers."""

    key: str
    """Within the report, for links."""
    label: str
    """What tells it apart from the others of its part, in few words."""
    identity: ArtifactIdentity
    accuracy: Accuracy | None
    measured: Measured | None = None
    against_fp32: Ratio | None = None
    """How long it takes against the FP32 file of the same model and format, with the same threads, in the same call."""
    bench: DeviceBench | None = None
    """The call it was measured in."""
    fp32_bytes: int | None = None
    """What its weights take in float32: some files say it, and it holds for all of the same weights."""

    @property
    def summary(self) -> Summary | None:
        """Of the model alone."""
        return self.measured.model_summary if self.measured else None

    @property
    def p50(self) -> float | None:
        """Milliseconds of the model alone; None where nothing was timed run by run."""
        found = percentile(self.summary, 0.5)
        return found.ms if found and found.ms > 0 else None

    @property
    def paired(self) -> Paired | None:
        """Its top 1 beside FP32's; None without labels, and where the artifact was not validated."""
        return self.accuracy.outcome.top1 if self.accuracy else None

    @property
    def top1(self) -> float | None:
        """A fraction."""
        return self.paired.artifact.value if self.paired else None

    @property
    def verdict(self) -> VerdictKind | None:
        """Of the accuracy; None where nobody validated."""
        return self.accuracy.outcome.verdict.kind if self.accuracy else None

    @property
    def weights(self) -> WeightsSource | None:
        """As the measurement says, or else the validation; None where neither does."""
        reference = self.accuracy.outcome.reference if self.accuracy else None
        return self.measured.weights if self.measured else reference.weights if reference else None

    @property
    def calibration(self) -> Calibration | None:
        """None for a file of floats, and where nothing was measured."""
        return self.measured.calibration if self.measured else None

    @property
    def share(self) -> float | None:
        """Its bytes over those of the same weights in float32."""
        return self.identity.bytes / self.fp32_bytes if self.fp32_bytes else None

    @property
    def threads(self) -> str:
        """In words."""
        n = self.measured.threads if self.measured else None
        return "the runtime's own threads" if n is None else f"{n} thread{'' if n == 1 else 's'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Front:
    """Accuracy against latency on one device, over the same pictures."""

    data: DataInfo
    rows: tuple[Row, ...]
    """All that have both, fastest first."""
    best: tuple[Row, ...]
    """Those that no other row beats in one without losing in the other, fastest first."""
    dominated: tuple[tuple[Row, Row], ...]
    """The others, each with one that is at least as fast and at least as right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pick:
    """What to take of one model on one device."""

    row: Row
    """The fastest that passes."""
    next: Row | None
    """The fastest but one."""
    against: Ratio | None
    """``next`` over ``row``, where they were measured side by side."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePart:
    """All that was measured on one device."""

    key: str
    title: str
    fingerprint: Fingerprint
    """The newest."""
    benches: tuple[DeviceBench, ...]
    """In the order of time."""
    rows: tuple[Row, ...]
    """Fastest first, or by name where it is an emulator; those without a figure last."""
    fronts: tuple[Front, ...]
    picks: tuple[Pick, ...]
    """One per model that has an artifact which passes; fastest first."""

    @property
    def emulated(self) -> str | None:
        """The emulator's name: none of these times is this device's."""
        return self.fingerprint.emulated


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What a report is made of."""

    devices: tuple[DevicePart, ...]
    unmeasured: tuple[Row, ...]
    """Validated, and on no device measured."""
    accuracies: Mapping[str, Accuracy]
    """By SHA-256: the validation that counts, of every artifact."""
    judged: tuple[Accuracy, ...]
    """The same in order, and files of one content apart where one validation has them apart."""
    validations: tuple[Validation, ...]
    benchmarks: tuple[Benchmark, ...]
    superseded: int
    """Measurements that a newer one of the same artifact on the same device replaced."""
    title: str | None
    """Instead of the headline that the figures give."""
    files: tuple[str, ...]
    """The names of the files all this was read from."""
    warnings: tuple[str, ...]
    """Of the reading."""

    @property
    def rows(self) -> tuple[Row, ...]:
        """Every row, device after device."""
        return (*(row for device in self.devices for row in device.rows), *self.unmeasured)

    @property
    def data(self) -> tuple[DataInfo, ...]:
        """The sets of pictures behind the accuracies, each once."""
        return tuple({a.data.sha256: a.data for a in self.accuracies.values()}.values())

    @property
    def versions(self) -> str:
        """Of edgecvx, that measured all this."""
        return ", ".join(dict.fromkeys([b.edgecvx for b in self.benchmarks] + [v.edgecvx for v in self.validations]))


def join(
    validations: Iterable[Validation],
    benchmarks: Iterable[Benchmark],
    *,
    title: str | None = None,
    files: Sequence[str] = (),
    warnings: Sequence[str] = (),
    thumbnails: Mapping[str, bytes] = MappingProxyType({}),
) -> Report:
    """Everything that is known, by device and artifact.

    Args:
        validations: What ``edgecvx validate`` measured; the same one twice counts once.
        benchmarks: What ``edgecvx bench`` measured; likewise.
        title: Instead of the headline that the figures give.
        files: The names of the files all this was read from, for the page's provenance.
        warnings: Of the reading, to be shown among the page's own.
        thumbnails: Picture name -> a small JPEG or PNG of it, for the pictures behind the biggest losses.
    """
    validations, benchmarks = _once(validations), _once(benchmarks)
    accuracies, judged = _accuracies(validations, thumbnails, room=PLOTTED if benchmarks else None)
    parts: dict[tuple[object, ...], list[DeviceBench]] = {}
    for benchmark in benchmarks:
        for bench in benchmark.devices:
            parts.setdefault(_place(bench), []).append(bench)
    titles = _titles([benches[-1].fingerprint for benches in parts.values()])
    devices = [
        _device(f"d{i + 1}", titles[i], sorted(benches, key=lambda bench: bench.before.at), accuracies)
        for i, benches in enumerate(parts.values())
    ]
    measured = sum(len(bench.measured) for benches in parts.values() for bench in benches)
    seen = {row.identity.sha256 for device in devices for row in device.rows}
    unmeasured = [
        Row(key=f"u{i + 1}", label="", identity=a.outcome.identity, accuracy=a)
        for i, (sha256, a) in enumerate(accuracies.items())
        if sha256 not in seen
    ]
    devices.sort(key=lambda device: device.emulated is not None)
    return Report(
        devices=tuple(devices),
        unmeasured=_labelled(unmeasured),
        accuracies=accuracies,
        judged=judged,
        validations=tuple(validations),
        benchmarks=tuple(benchmarks),
        superseded=measured - sum(len(device.rows) for device in devices),
        title=title,
        files=tuple(files),
        warnings=tuple(warnings),
    )


def _place(bench: DeviceBench) -> tuple[object, ...]:
    """What has this in common was measured on one device; of two whose id could not be read nobody knows."""
    f = bench.fingerprint
    return (f.id, f.emulated is not None, id(bench) if f.id == UNKNOWN else None)


def _once(values: Iterable[T]) -> list[T]:
    """Without repetitions; a value with mappings in it has no hash."""
    made: list[T] = []
    for value in values:
        if value not in made:
            made.append(value)
    return made


def _accuracies(
    validations: Sequence[Validation], thumbnails: Mapping[str, bytes], room: int | None
) -> tuple[dict[str, Accuracy], tuple[Accuracy, ...]]:
    found = [(validation, outcome) for validation in validations for outcome in validation.artifacts]
    worst = sorted(range(len(found)), key=lambda i: top1.delta if (top1 := found[i][1].top1) else 0.0)[:room]
    same = Counter(outcome.identity.sha256 for _, outcome in found)
    every = [
        Accuracy(
            key=f"a{i + 1}",
            outcome=outcome,
            validation=validation,
            others=same[outcome.identity.sha256] - 1,
            plotted=i in worst,
            thumbnails=thumbnails,
        )
        for i, (validation, outcome) in enumerate(found)
    ]
    counts: dict[str, Accuracy] = {}
    for a in every:
        before = counts.setdefault(a.outcome.identity.sha256, a)
        if a.outcome.pictures > before.outcome.pictures:
            counts[a.outcome.identity.sha256] = a
    return counts, tuple(a for a in every if a.validation is counts[a.outcome.identity.sha256].validation)


def _titles(fingerprints: Sequence[Fingerprint]) -> list[str]:
    """What to call each device; the way it was reached tells two of the same kind apart."""
    short = [shorten(_title(f), LABEL) for f in fingerprints]
    counted = Counter(short)
    named = [f"{s} ({f.hostname or f.name})" if counted[s] > 1 else s for s, f in zip(short, fingerprints, strict=True)]
    counted = Counter(named)
    return [f"{n}, {f.id[:8]}" if counted[n] > 1 else n for n, f in zip(named, fingerprints, strict=True)]


def _title(f: Fingerprint) -> str:
    """What a device is; of a browser first which one it is, for two on one phone are two devices."""
    what = f.board or f.soc or f.cpu or f.hostname
    browser = f.facts.get(BROWSER_FACT)
    return " on ".join(filter(None, (browser, what or f.os))) if browser else what or f.name


def _device(key: str, title: str, benches: Sequence[DeviceBench], accuracies: Mapping[str, Accuracy]) -> DevicePart:
    newest: dict[tuple[object, ...], tuple[DeviceBench, Measured]] = {}
    for bench in benches:
        times: Counter[tuple[object, ...]] = Counter()
        for measured in bench.measured:
            # A file that was measured against itself is in one benchmark twice; neither is older.
            times[_same(measured)] += 1
            this = (*_same(measured), times[_same(measured)])
            before = newest.get(this)
            # An attempt that failed does not take the place of figures.
            if before is None or measured.error is None or before[1].error is not None:
                newest[this] = (bench, measured)
    whole = {_weights(m): m.fp32_bytes for _, m in newest.values() if m.fp32_bytes}
    rows = [
        Row(
            key="",
            label="",
            identity=measured.identity,
            accuracy=accuracies.get(measured.identity.sha256),
            measured=measured,
            against_fp32=_against_fp32(bench, measured),
            bench=bench,
            fp32_bytes=whole.get(_weights(measured)),
        )
        for bench, measured in newest.values()
    ]
    ranked = benches[-1].fingerprint.emulated is None
    rows.sort(key=lambda row: (row.p50 is None, row.p50 or 0.0) if ranked else (row.p50 is None, row.identity.file))
    rows = [dataclasses.replace(row, key=f"{key}r{i + 1}") for i, row in enumerate(rows)]
    labelled = _labelled(rows)
    return DevicePart(
        key=key,
        title=title,
        fingerprint=benches[-1].fingerprint,
        benches=tuple(benches),
        rows=labelled,
        fronts=_fronts(labelled, ranked=ranked),
        picks=_picks(labelled) if ranked else (),
    )


def _same(m: Measured) -> tuple[object, ...]:
    """Two measurements with this in common are of the same thing."""
    return (m.identity.sha256, m.identity.runtime, m.threads, m.batch, tuple(sorted(m.options.items())))


def _weights(m: Measured) -> tuple[object, ...]:
    return (m.weights.sha256, m.identity.model, m.identity.task)


# --- comparisons on one device --------------------------------------------------------------------------------------


def _against_fp32(bench: DeviceBench, m: Measured) -> Ratio | None:
    base = baseline(bench.measured, m) if m.identity.precision != FP32 else None
    return ratio_of(bench.ratios, m.id, base.id) if base else None


def comparable(rows: Sequence[Row]) -> tuple[Row, ...]:
    """The rows with a p50 for the smallest batch: a run of eight pictures is not ranked with a run of one."""
    timed = [row for row in rows if row.measured and row.p50 is not None]
    smallest = min((row.measured.batch for row in timed if row.measured), default=1)
    return tuple(row for row in timed if row.measured and row.measured.batch == smallest)


def _fronts(rows: Sequence[Row], *, ranked: bool) -> tuple[Front, ...]:
    by_data: dict[str, tuple[DataInfo, list[Row]]] = {}
    for row in comparable(rows):
        if row.accuracy and row.top1 is not None:
            by_data.setdefault(row.accuracy.data.sha256, (row.accuracy.data, []))[1].append(row)
    return tuple(_front(data, many, ranked=ranked) for data, many in by_data.values())


def _front(data: DataInfo, rows: Sequence[Row], *, ranked: bool) -> Front:
    """From the fastest on: a row is on the front if it is more often right than everything faster than it."""
    ordered = sorted(rows, key=lambda row: (row.p50 or 0.0, -(row.top1 or 0.0)))
    best: list[Row] = []
    dominated: list[tuple[Row, Row]] = []
    for row in ordered if ranked else ():
        last = best[-1] if best else None
        if last is None or (row.top1 or 0.0) > (last.top1 or 0.0) or (row.top1, row.p50) == (last.top1, last.p50):
            best.append(row)
        else:
            dominated.append((row, last))
    return Front(data=data, rows=tuple(ordered), best=tuple(best), dominated=tuple(dominated))


def _picks(rows: Sequence[Row]) -> tuple[Pick, ...]:
    passing: dict[str, list[Row]] = {}
    for row in comparable(rows):  # fastest first
        if row.verdict == "pass":
            passing.setdefault(row.identity.model, []).append(row)
    return tuple(_pick(*many[:2]) for many in passing.values())


def _pick(row: Row, second: Row | None = None) -> Pick:
    against = None
    if row.bench and row.measured and second and second.measured and second.bench is row.bench:
        against = ratio_of(row.bench.ratios, second.measured.id, row.measured.id)
    return Pick(row=row, next=second, against=against)


# --- names ----------------------------------------------------------------------------------------------------------


def _labelled(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Each row with the fewest words that tell it from the others."""
    measured = [row.measured for row in rows if row.measured]
    # A runtime only says something where one format runs in two.
    formats = Counter(f for f, _ in {(row.identity.format, row.identity.runtime) for row in rows})
    several = {
        "model": len({row.identity.model for row in rows}) > 1,
        "runtime": any(n > 1 for n in formats.values()),
        "threads": len({m.threads for m in measured}) > 1,
        "batch": len({m.batch for m in measured}) > 1,
        "options": len({tuple(sorted(m.options.items())) for m in measured}) > 1,
    }
    short = [shorten(_label(row, several), LABEL) for row in rows]
    counted = Counter(short)
    short = [shorten(row.identity.file, LABEL) if counted[s] > 1 else s for s, row in zip(short, rows, strict=True)]
    counted = Counter(short)
    return tuple(
        dataclasses.replace(row, label=f"{s} {row.identity.sha256[:6]} {row.threads}" if counted[s] > 1 else s)
        for s, row in zip(short, rows, strict=True)
    )


def _label(row: Row, several: Mapping[str, bool]) -> str:
    i, m = row.identity, row.measured
    words = [i.model.removeprefix("convnextv2_")] if several["model"] else []
    words += [i.target, i.precision]
    if several["runtime"]:
        words.append(f"in {i.runtime}")
    if m and several["threads"]:
        words.append("own threads" if m.threads is None else f"{m.threads}T")
    if m and several["batch"]:
        words.append(f"batch {m.batch}")
    if m and several["options"]:
        words += [f"{name}={value}" for name, value in sorted(m.options.items())]
    return " ".join(words)
