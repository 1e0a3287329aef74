"""The results of a sweep's jobs, read from the store and put together: cells, gates, and what is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from edgecvx import __version__
from edgecvx.latency.bench import read_json as read_benchmark
from edgecvx.latency.gates import judge
from edgecvx.manifest import read_manifest
from edgecvx.results.accuracy import Validation
from edgecvx.results.accuracy import read_json as read_validation
from edgecvx.results.figures import megabytes
from edgecvx.results.identity import identity_of
from edgecvx.results.latency import Benchmark, DeviceBench, Measured, percentile
from edgecvx.spec import to_json
from edgecvx.sweep.cells import gate_of
from edgecvx.sweep.job import Job, hash_of
from edgecvx.sweep.plan import Plan, PlannedCell
from edgecvx.sweep.recipe.values import Gate
from edgecvx.sweep.result import (
    CellAccuracy,
    CellLatency,
    CellResult,
    GateOutcome,
    Missing,
    SweepResult,
)
from edgecvx.sweep.store import Store


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A sweep's result, and the validations and benchmarks it is made of, by their jobs' keys."""

    result: SweepResult
    validations: Mapping[str, Validation]
    benchmarks: Mapping[str, Benchmark]


def gather(plan: Plan, store: Store, reasons: Mapping[str, str]) -> Gathered:
    """What there is of a plan.

    Args:
        plan: What was to be done.
        store: The results.
        reasons: Key of a job without a result -> why.
    """
    found = {key: done for key in plan.jobs if (done := store.find(key)) is not None}
    validations = {k: read_validation(_text(store, k)) for k in found if plan.jobs[k].kind == "validate"}
    benchmarks = {k: read_benchmark(_text(store, k)) for k in found if plan.jobs[k].kind == "bench"}
    cells = tuple(_cell(planned, store, validations, benchmarks) for planned in plan.cells)
    gates = tuple(
        gate
        for planned, cell in zip(plan.cells, cells, strict=True)
        for gate in _gates(plan, planned, cell, validations, benchmarks)
    )
    warnings = [*plan.warnings, *(w for key in plan.jobs if key in found for w in found[key].record.warnings)]
    missing = [_missing(job, reasons) for job in plan.jobs.values() if job.key not in found]
    result = SweepResult(
        edgecvx=__version__,
        name=plan.recipe.name,
        key=hash_of({"jobs": sorted(plan.jobs), "gates": to_json(plan.recipe.gates), "name": plan.recipe.name}),
        cells=cells,
        gates=gates,
        missing=tuple(missing),
        left_out=tuple(Missing(name=left.name, reason=left.reason) for left in plan.left_out),
        warnings=tuple(dict.fromkeys(warnings)),
    )
    return Gathered(result=result, validations=validations, benchmarks=benchmarks)


def _text(store: Store, key: str) -> str:
    result = store.find(key)
    return "" if result is None else result.path.read_text(encoding="utf-8")


def _missing(job: Job, reasons: Mapping[str, str]) -> Missing:
    return Missing(name=f"{job.kind} {job.name}", reason=reasons.get(job.key, "it was not done yet"))


# Cells


def _cell(
    planned: PlannedCell, store: Store, validations: Mapping[str, Validation], benchmarks: Mapping[str, Benchmark]
) -> CellResult:
    cell, export = planned.cell, store.find(planned.export)
    identity = None if export is None else identity_of(export.path, read_manifest(export.path), None)
    accuracy = [_accuracy(data, validations[key]) for data, key in planned.validations.items() if key in validations]
    timed = ((device, benchmarks[key]) for device, key in planned.benches.items() if key in benchmarks)
    sha256 = None if identity is None else identity.sha256
    latency = [_latency(device, m) for device, b in timed for m in _of_file(b.devices[0], sha256)]
    return CellResult(
        name=cell.name,
        model=cell.model.name,
        target=cell.target.name,
        precision=cell.precision.value,
        image_size=cell.image_size,
        calibration=None if cell.calibration is None else cell.calibration.name,
        file=None if identity is None else identity.file,
        sha256=sha256,
        bytes=None if identity is None else identity.bytes,
        accuracy=tuple(accuracy),
        latency=tuple(latency),
    )


def _accuracy(data: str, validation: Validation) -> CellAccuracy:
    (outcome,) = validation.artifacts
    top1 = outcome.top1
    return CellAccuracy(
        data=data,
        verdict=outcome.verdict.kind,
        reason=outcome.verdict.reason,
        pictures=outcome.pictures,
        top1=None if top1 is None else top1.artifact.value,
        reference_top1=None if top1 is None else top1.reference.value,
        delta=None if top1 is None else top1.delta,
        interval=None if top1 is None else top1.interval,
        sqnr_db=outcome.outputs[0].sqnr_db if outcome.outputs else None,
        flips=None if outcome.answers is None else outcome.answers.flips,
    )


def _of_file(bench: DeviceBench, sha256: str | None) -> list[Measured]:
    return [m for m in bench.measured if m.identity.sha256 == sha256]


def _latency(device: str, m: Measured) -> CellLatency:
    found = percentile(m.model_summary, 0.5)
    options = ",".join(f"{k}={v}" for k, v in m.options.items())
    mean = m.model_summary.mean if m.model_summary else m.told.mean if m.told else None
    return CellLatency(
        device=device,
        runtime=m.identity.runtime + (f":{options}" if options else ""),
        threads=m.threads,
        p50=None if found is None else found.ms,
        interval=None if found is None else found.interval,
        mean=mean,
        peak_bytes=m.memory.peak if m.memory else None,
        error=m.error,
    )


# Gates


def _gates(
    plan: Plan,
    planned: PlannedCell,
    cell: CellResult,
    validations: Mapping[str, Validation],
    benchmarks: Mapping[str, Benchmark],
) -> Iterator[GateOutcome]:
    """Everything one cell is held to, as far as there are figures."""
    recipe = plan.recipe
    for data in recipe.data:
        key = planned.validations.get(data.name)
        gate = gate_of(recipe, planned.cell, data)
        if gate is not None and key is not None and key in validations:
            yield _of_accuracy(gate, cell.name, data.name, validations[key])
    for gate in recipe.gates:
        if gate.kind == "max_mb" and cell.bytes is not None and _fits(gate, planned.cell.axes()):
            yield _of_size(gate, cell.name, cell.bytes)
        for device, key in planned.benches.items() if gate.kind == "max_p50" else ():
            if key in benchmarks and _fits(gate, planned.cell.axes(device=device)):
                yield from _of_latency(gate, cell, device, benchmarks[key])


def _fits(gate: Gate, axes: Mapping[str, str | None]) -> bool:
    return gate.where is None or gate.where.matches(axes)


def _limit(gate: Gate) -> float:
    return float(getattr(gate, gate.kind))


def _of_accuracy(gate: Gate, cell: str, data: str, validation: Validation) -> GateOutcome:
    verdict = validation.artifacts[0].verdict
    return GateOutcome(
        kind="min_ratio" if gate.min_ratio is not None else "max_drop",
        limit=_limit(gate),
        cell=cell,
        on=data,
        verdict=verdict.kind if verdict.kind in ("pass", "fail") else "undecided",
        sentence=verdict.reason,
    )


def _of_size(gate: Gate, cell: str, size: int) -> GateOutcome:
    limit = _limit(gate)
    passed = size <= limit * 1e6
    return GateOutcome(
        kind="max_mb",
        limit=limit,
        cell=cell,
        on=None,
        verdict="pass" if passed else "fail",
        sentence=f"{megabytes(size)}, allowed {'are' if passed else 'were'} {limit:g} MB",
    )


def _of_latency(gate: Gate, cell: CellResult, device: str, benchmark: Benchmark) -> Iterator[GateOutcome]:
    """By the rules of ``edgecvx bench``, for every choice of threads and options."""
    bench = benchmark.devices[0]
    only = dataclasses.replace(bench, measured=tuple(_of_file(bench, cell.sha256)))
    for outcome in judge(only, max_p50=_limit(gate), max_ratio=None, against=None):
        yield GateOutcome(
            kind="max_p50",
            limit=outcome.limit,
            cell=cell.name,
            on=device,
            verdict=outcome.verdict,
            sentence=outcome.sentence,
        )
