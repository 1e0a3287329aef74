"""How long a plan takes and how much it writes: from what the store has seen before, or from stated defaults."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median

from edgecvx.sweep.job import Job
from edgecvx.sweep.plan import Plan
from edgecvx.sweep.store import Record, Store

_FEMTO = 5.2e6 * 224**2
"""Parameters times pixels of femto at 224: what the defaults below were measured with, on two cores of a server."""
_EXPORT, _CALIBRATING, _VALIDATING, _RUN = 6.0, 0.12, 0.07, 0.03
"""Seconds: a file, a calibration picture, a picture through file and reference, a timed run of the model."""
_OVERHEAD = 20.0
"""Seconds of a measurement beside its runs: copying, checking, memory, warm-up."""
DEFAULTS = (
    f"defaults: {_EXPORT:g} s a file, {_CALIBRATING:g} s a calibration picture, {_VALIDATING:g} s a picture and "
    f"{_RUN * 1000:g} ms a timed run for femto at 224 px on two cores; other networks by their parameters and pixels"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """What is left of a plan."""

    jobs: Mapping[str, int]
    """Kind -> all of them."""
    left: Mapping[str, int]
    """Kind -> those without a result."""
    seconds: float
    """On this machine alone, one after the other."""
    bytes: float
    """That will be written beyond what is there."""
    basis: str
    """Where the numbers come from."""


def estimate(plan: Plan, store: Store) -> Estimate:
    """What is left to do, and about how long it takes one machine."""
    factors = _factors(store.records())
    jobs: dict[str, int] = defaultdict(int)
    left: dict[str, int] = defaultdict(int)
    seconds = size = 0.0
    for job in plan.jobs.values():
        jobs[job.kind] += 1
        if store.find(job.key) is not None:
            continue
        left[job.kind] += 1
        seconds += expected(job) * factors.get(job.kind, 1.0)
        size += _bytes(job)
    known = ", ".join(f"{kind} x{factor:.2f}" for kind, factor in sorted(factors.items()))
    basis = f"{DEFAULTS}; what was measured here before against them: {known}" if known else DEFAULTS
    return Estimate(jobs=dict(jobs), left=dict(left), seconds=seconds, bytes=size, basis=basis)


def expected(job: Job | Record) -> float:
    """Seconds by the defaults."""
    scale = job.scale
    if job.kind == "export":
        part = scale["parameters"] * scale["pixels"] / _FEMTO
        return _EXPORT * (0.3 + 0.7 * part) + _CALIBRATING * scale["calibrating"] * part
    if job.kind == "validate":
        return 2.0 + _VALIDATING * scale["pictures"] * scale["work"] / _FEMTO
    return _OVERHEAD + _RUN * scale["runs"] + scale["seconds"]


def _factors(records: Iterable[Record]) -> dict[str, float]:
    """Kind -> how much longer than the defaults say it takes here: the median over what was done."""
    seen: dict[str, list[float]] = defaultdict(list)
    for record in records:
        seen[record.kind].append(record.seconds / expected(record))
    return {kind: median(values) for kind, values in seen.items()}


def _bytes(job: Job) -> float:
    """A file is its weights and little more; reports and samples take some hundred kilobytes."""
    if job.kind == "export":
        return job.scale["parameters"] * job.scale["bits"] / 8 * 1.1
    return 300e3 if job.kind == "validate" else 100.0 * job.scale["runs"] + 100e3
