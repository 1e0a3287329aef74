"""What a tracking server is told of a result: values alone, by the names that its users compare runs by.

A run has one file's figures, so that two runs can be compared; a call over several files is a run with others in it.
Rates are fractions and times milliseconds, as results have them; an interval's ends stand beside its figure, as
``top1_low`` and ``top1_high``. What was not measured is left out, and nothing stands in for it.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecvx.manifest import described, manifest_path, without_manifests
from edgecvx.results.accuracy import ArtifactIdentity, ArtifactOutcome, Interval, Paired, Validation
from edgecvx.results.accuracy import as_json as validation_json
from edgecvx.results.latency import Benchmark, DeviceBench, Measured, Summary
from edgecvx.results.untrusted import plain
from edgecvx.sweep.result import CellResult, SweepResult
from edgecvx.tune.report.values import DeviceResult, Row, Tuned

Figures = Mapping[str, float | None]
LONGEST_NAME = 200
"""Of a parameter's or metric's name; servers take 250."""
LONGEST_VALUE = 500
"""Characters of a parameter; older servers take no more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """A run as it is to be logged."""

    name: str
    params: Mapping[str, object] = dataclasses.field(default_factory=dict)
    metrics: Figures = dataclasses.field(default_factory=dict)
    tags: Mapping[str, str] = dataclasses.field(default_factory=dict)
    texts: Mapping[str, str] = dataclasses.field(default_factory=dict)
    """Name of a file in the run -> its content."""
    files: tuple[tuple[Path, str], ...] = ()
    """A file, and the folder of the run it goes into; empty for none."""
    children: tuple[RunRecord, ...] = ()

    def numbers(self) -> dict[str, float]:
        """The metrics there are, by names that servers take."""
        found = {metric_name(name): value for name, value in self.metrics.items() if value is not None}
        return {name: float(value) for name, value in found.items() if math.isfinite(value)}

    def words(self) -> dict[str, str]:
        """The parameters there are, as texts that servers take."""
        named = {metric_name(name): value for name, value in self.params.items() if value is not None}
        return {name: plain(str(value), LONGEST_VALUE) for name, value in named.items()}


def metric_name(text: str) -> str:
    """The nearest name that servers take."""
    return re.sub(r"[^\w.\- /]", "_", text, flags=re.ASCII)[:LONGEST_NAME].strip(" ./") or "_"


# edgecvx validate


def of_validation(result: Validation, artifacts: Sequence[Path], *, page: Path | None = None) -> RunRecord:
    """What ``edgecvx validate`` found.

    Args:
        result: All of it.
        artifacts: The files, in the order in which they were given.
        page: A report that was written of it.
    """
    data = result.data
    shared = {"edgecvx": result.edgecvx, "data": data.name, "data_sha256": data.sha256, "seed": data.seed}
    whole = RunRecord(
        name=f"validate {data.name}",
        params={**shared, "gate": result.gate.text},
        texts={"accuracy.json": validation_json(result)},
        files=_page(page),
    )
    return _of_files(whole, [_outcome(o, _manifests(artifacts)) for o in result.artifacts])


def _outcome(outcome: ArtifactOutcome, manifests: Mapping[str, Path]) -> RunRecord:
    reference, answers = outcome.reference, outcome.answers
    first = outcome.outputs[0] if outcome.outputs else None
    return RunRecord(
        name=outcome.identity.file,
        params={
            **_identity(outcome.identity),
            "weights_sha256": None if reference is None else reference.weights.sha256,
            "image_size": None if reference is None else reference.preprocess.size,
        },
        metrics={
            "pictures": outcome.pictures,
            "size_mb": _millionth(outcome.identity.bytes),
            **_paired("top1", outcome.top1),
            **_paired("top5", outcome.top5),
            "flips": None if answers is None else answers.flips,
            "sqnr_db": None if first is None else first.sqnr_db,
            "cosine_min": None if first is None else first.cosine_min,
        },
        tags={"verdict": outcome.verdict.kind, "reason": outcome.error or outcome.verdict.reason},
        files=_manifest(outcome.identity.file, manifests),
    )


def _paired(name: str, paired: Paired | None) -> Figures:
    if paired is None:
        return {}
    return {
        **_with_ends(name, paired.artifact.value, paired.artifact.interval),
        f"reference_{name}": paired.reference.value,
        **_with_ends(f"{name}_change", paired.delta, paired.interval),
    }


# edgecvx bench


def of_benchmark(result: Benchmark, text: str, artifacts: Sequence[Path], *, page: Path | None = None) -> RunRecord:
    """What ``edgecvx bench`` found; a run for each file with each device, runtime and number of threads.

    Args:
        result: All of it.
        text: Its JSON.
        artifacts: The files that were given.
        page: A report that was written of it.
    """
    protocol = result.protocol
    whole = RunRecord(
        name=f"bench {', '.join(d.fingerprint.name for d in result.devices)}",
        params={"edgecvx": result.edgecvx, "rounds": protocol.rounds, "pictures": protocol.pictures},
        tags=_gates(result),
        texts={"latency.json": text},
        files=_page(page),
    )
    manifests = _manifests(artifacts)
    return _of_files(whole, [_measured(d, m, manifests) for d in result.devices for m in d.measured])


def _gates(result: Benchmark) -> dict[str, str]:
    """The verdict of each gate on each device; of two devices with one name, as boards may have, the worse."""
    worst_last = sorted(result.gates, key=lambda g: ("pass", "undecided", "fail").index(g.verdict))
    return {f"gate {g.kind} {g.measured} on {g.device}": g.verdict for g in worst_last}


def _measured(device: DeviceBench, m: Measured, manifests: Mapping[str, Path]) -> RunRecord:
    where, options = device.fingerprint, ",".join(f"{k}={v}" for k, v in m.options.items())
    described = {"device": where.name, "device_id": where.id, "cpu": where.cpu, "board": where.board}
    how = {"threads": m.threads, "batch": m.batch, "options": options or None, "backend": m.backend}
    return RunRecord(
        name=" ".join([m.identity.file, where.name, *([f"{m.threads} threads"] if m.threads else [])]),
        params={**_identity(m.identity), "weights_sha256": m.weights.sha256, **described, **how},
        metrics={
            "size_mb": _millionth(m.identity.bytes),
            **_summary("", m.model_summary),
            **_summary("end_to_end_", m.end_to_end_summary),
            "load_ms": _millionth(m.load_ns),
            "first_ms": _millionth(m.first_ns),
            "peak_memory_mb": _millionth(m.memory.peak if m.memory else None),
            **(_with_ends("slowdown", m.sustained.slowdown_ratio, m.sustained.slowdown) if m.sustained else {}),
        },
        tags={"error": m.error} if m.error else {},
        files=_manifest(m.identity.file, manifests),
    )


def _summary(prefix: str, summary: Summary | None) -> Figures:
    if summary is None:
        return {}
    found: dict[str, float | None] = {f"{prefix}mean_ms": summary.mean, f"{prefix}per_second": summary.per_second}
    for percentile in summary.percentiles:
        found |= _with_ends(f"{prefix}p{100 * percentile.q:g}_ms", percentile.ms, percentile.interval, unit="_ms")
    return found


# edgecvx sweep


def of_sweep(result: SweepResult, text: str, folder: Path) -> RunRecord:
    """What ``edgecvx sweep`` made: a run, and in it one for each file, with the file itself.

    Args:
        result: All of it.
        text: Its JSON.
        folder: Where it lies.
    """
    verdicts = [gate.verdict for gate in result.gates]
    return RunRecord(
        name=f"sweep {result.name}",
        params={"edgecvx": result.edgecvx, "recipe": result.name, "key": result.key},
        metrics={
            "files": len(result.cells),
            "missing": len(result.missing),
            **{f"gates_{kind}": verdicts.count(kind) for kind in ("pass", "fail", "undecided")},
        },
        texts={"sweep.json": text},
        files=_page(folder / "report.html"),
        children=tuple(_cell(cell, result, folder / "files" / cell.name) for cell in result.cells),
    )


def _cell(cell: CellResult, result: SweepResult, folder: Path) -> RunRecord:
    metrics: dict[str, float | None] = {"size_mb": _millionth(cell.bytes)}
    for a, end in zip(cell.accuracy, _ends(a.data for a in cell.accuracy), strict=True):
        metrics |= {f"top1{end}": a.top1, f"reference_top1{end}": a.reference_top1, f"sqnr_db{end}": a.sqnr_db}
        metrics |= {f"pictures{end}": a.pictures, f"flips{end}": a.flips}
        metrics |= _with_ends("top1_change", a.delta, a.interval, end=end)
    timed = [f"{t.device}.{t.runtime}{'' if t.threads is None else f'.{t.threads}'}" for t in cell.latency]
    for t, end in zip(cell.latency, _ends(timed), strict=True):
        metrics |= _with_ends("p50_ms", t.p50, t.interval, unit="_ms", end=end)
        metrics |= {f"mean_ms{end}": t.mean, f"peak_memory_mb{end}": _millionth(t.peak_bytes)}
    return RunRecord(
        name=cell.name,
        params={
            **{"model": cell.model, "target": cell.target, "precision": cell.precision, "file": cell.file},
            **{"image_size": cell.image_size, "calibration": cell.calibration, "sha256": cell.sha256},
        },
        metrics=metrics,
        tags={
            f"gate {g.kind}{'' if g.on is None else ' ' + g.on}": g.verdict for g in result.gates if g.cell == cell.name
        },
        files=_inside(folder, "files") if cell.file is not None else (),
    )


def _ends(names: Iterable[str]) -> list[str]:
    """What the names of several figures of one kind end with; nothing for the only one."""
    found = list(names)
    return [f".{name}" for name in found] if len(found) > 1 else [""] * len(found)


# edgecvx tune


def of_tuned(tuned: Tuned, text: str, folder: Path) -> RunRecord:
    """What ``edgecvx tune`` found: a run with the file to ship, and in it one for each file that raced.

    Args:
        tuned: All of it.
        text: Its JSON.
        folder: Where it lies.
    """
    shipped = [r for d in tuned.devices for r in d.rows if r.name == d.ending.file and d.shipped is not None]
    return RunRecord(
        name=f"tune {', '.join(tuned.models)}",
        params={
            **{"edgecvx": tuned.edgecvx, "models": ", ".join(tuned.models), "targets": ", ".join(tuned.targets)},
            **{"objective": tuned.objective, "data": tuned.data, "candidates": tuned.candidates},
            **tuned.limits,
            "ships": ", ".join(r.name for r in shipped) or None,
        },
        metrics=_row(shipped[0]) if len(shipped) == 1 else {},
        tags={f"ending {d.device}": d.ending.kind for d in tuned.devices},
        texts={"tune.json": text},
        files=(*_page(folder / "report.html"), *_inside(folder / "ship", "ship")),
        children=tuple(_racer(d, r) for d in tuned.devices for r in d.rows if r.rounds > 0),
    )


def _racer(device: DeviceResult, row: Row) -> RunRecord:
    return RunRecord(
        name=f"{row.name} {device.device}",
        params={
            **{"model": row.model, "target": row.target, "precision": row.precision, "image_size": row.size},
            **{"threads": row.threads, "sha256": row.sha256, "device": device.device},
        },
        metrics=_row(row),
        tags={"state": row.state, "why": row.why},
    )


def _row(row: Row) -> Figures:
    return {
        **_with_ends("p50_ms", row.ms, row.ms_interval, unit="_ms"),
        "top1": row.top1,
        **_with_ends("top1_change", row.change, row.change_interval),
        **{"pictures": row.pictures, "rounds": row.rounds, "size_mb": _millionth(row.bytes)},
        "peak_memory_mb": _millionth(row.peak_bytes),
    }


# What all of them have


def _of_files(whole: RunRecord, files: Sequence[RunRecord]) -> RunRecord:
    """One file's figures are the run's own; those of several stand in runs of their own in it."""
    if len(files) != 1:
        return dataclasses.replace(whole, children=tuple(files))
    (only,) = files
    return dataclasses.replace(
        whole,
        name=f"{whole.name.split()[0]} {only.name}",
        params={**whole.params, **only.params},
        metrics=only.metrics,
        tags={**whole.tags, **only.tags},
        files=(*whole.files, *only.files),
    )


def _identity(identity: ArtifactIdentity) -> dict[str, object]:
    named = {"model": identity.model, "target": identity.target, "precision": identity.precision}
    ran = {"runtime": identity.runtime, "runtime_version": identity.runtime_version}
    return {**named, **ran, "file": identity.file, "sha256": identity.sha256}


def _millionth(value: int | None) -> float | None:
    """Bytes as megabytes, nanoseconds as milliseconds."""
    return None if value is None else value / 1e6


def _with_ends(
    name: str, value: float | None, interval: Interval | None, *, unit: str = "", end: str = ""
) -> dict[str, float | None]:
    """A figure and the ends of its interval; ``p50_ms`` has ``p50_low_ms``."""
    stem = name.removesuffix(unit)
    ends = {f"{stem}_low{unit}{end}": interval.low, f"{stem}_high{unit}{end}": interval.high} if interval else {}
    return {f"{name}{end}": value, **ends}


def _manifests(artifacts: Sequence[Path]) -> Mapping[str, Path]:
    """The name of each artifact -> its manifest, where the names tell them apart."""
    files = [described(path) for path in without_manifests(artifacts)]
    names = [file.name for file in files]
    return {file.name: manifest_path(file) for file in files if names.count(file.name) == 1}


def _manifest(file: str, manifests: Mapping[str, Path]) -> tuple[tuple[Path, str], ...]:
    path = manifests.get(Path(file).name)
    return ((path, ""),) if path is not None and path.is_file() else ()


def _page(page: Path | None) -> tuple[tuple[Path, str], ...]:
    return ((page, ""),) if page is not None and page.is_file() else ()


def _inside(folder: Path, name: str) -> tuple[tuple[Path, str], ...]:
    """Every file below a folder, under a folder of the run."""
    return tuple(_below(folder, name)) if folder.is_dir() else ()


def _below(folder: Path, name: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink():
            yield path, "/".join([name, *path.parent.relative_to(folder).parts])
