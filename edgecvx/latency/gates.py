"""Limits for continuous integration: passed or failed where the whole interval says so, undecided where it does not."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from edgecvx.errors import UsageError
from edgecvx.results import statistics
from edgecvx.results.accuracy import Interval
from edgecvx.results.latency import DeviceBench, GateResult, Measured

Verdict = Literal["pass", "fail", "undecided"]
_MOST_MORE = 1_000_000


def check_limits(max_p50: float | None, max_ratio: float | None, against: object) -> None:
    """Refuses limits that can decide nothing."""
    for name, limit in (("--max-p50", max_p50), ("--max-ratio", max_ratio)):
        if limit is not None and not (math.isfinite(limit) and limit > 0):
            raise UsageError(f"{name} {limit:g} does not work: it must be positive")
    if (max_ratio is None) is not (against is None):
        raise UsageError("--max-ratio and --against go together: how many times as long as which file")


def judge(
    device: DeviceBench, *, max_p50: float | None, max_ratio: float | None, against: str | None
) -> tuple[GateResult, ...]:
    """Every limit, held against everything on one device that has figures.

    Args:
        device: What was measured there.
        max_p50: Milliseconds that the median of the model alone may take.
        max_ratio: How many times as long as ``against`` an artifact may take.
        against: The SHA-256 of the artifact that is the measure; compared with equal threads and batch, and with equal
            options where it was measured with those.
    """
    results: list[GateResult] = []
    if max_p50 is not None:
        results += _absolute(device, max_p50)
    if max_ratio is not None and against is not None:
        results += _relative(device, max_ratio, against)
    return tuple(results)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figure:
    """What a limit is held against."""

    value: float
    interval: Interval | None
    count: int
    """Of the runs, or of the rounds where it is a ratio, that it comes from."""


def _absolute(device: DeviceBench, limit: float) -> Iterator[GateResult]:
    for m in device.measured:
        s, found = m.model_summary, None
        if s is not None:
            p50 = s.percentiles[0]
            found = _Figure(value=p50.ms, interval=p50.interval, count=s.samples)
        if found is not None or m.error is None:  # an error has an exit code of its own
            yield _result(device, m, None, limit, found)


def _relative(device: DeviceBench, limit: float, against: str) -> Iterator[GateResult]:
    bases = [m for m in device.measured if m.identity.sha256 == against]
    for m in device.measured:
        if m.identity.sha256 == against or m.error is not None:
            continue
        equal = [b for b in bases if (b.threads, b.batch) == (m.threads, m.batch)]
        base = next((b for b in equal if dict(b.options) == dict(m.options)), equal[0] if equal else None)
        if base is None:  # another batch: refused before anything was measured
            continue
        ratio = statistics.ratio_of(device.ratios, m.id, base.id)
        found = None
        if ratio is not None:
            found = _Figure(value=ratio.value, interval=ratio.interval, count=ratio.rounds)
        yield _result(device, m, base, limit, found)


def _result(device: DeviceBench, m: Measured, base: Measured | None, limit: float, found: _Figure | None) -> GateResult:
    """One limit against one figure."""
    what = f"{m.identity.file}: " + ("p50" if base is None else f"time against {base.identity.file}")
    form, unit = ("{:.4g} ms", "runs") if base is None else ("{:.4g} times", "rounds")
    verdict: Verdict = "undecided"
    if device.fingerprint.emulated is not None:
        found, sentence = None, f"{what} is not known: the device was EMULATED ({device.fingerprint.emulated})"
    elif found is None and m.told is not None:
        sentence = f"{what} is not known: {m.told.tool} tells a mean and no single runs"
    elif found is None:
        sentence = f"{what} is not known: there are no runs" + ("" if base is None else " of both in one round")
    elif found.interval is None:
        sentence = f"{what} {form.format(found.value)}, limit {limit:g}: too few {unit} for an interval; "
        sentence += _more(found, limit, unit)
    else:
        low, high = found.interval.low, found.interval.high
        verdict = "pass" if high <= limit else "fail" if low > limit else "undecided"
        sentence = f"{what} {form.format(found.value)}, 95% interval {low:.4g} to {high:.4g}, limit {limit:g}"
        sentence += f": {_more(found, limit, unit)}" if verdict == "undecided" else ""
    return GateResult(
        kind="max_p50" if base is None else "max_ratio",
        limit=limit,
        device=device.fingerprint.name,
        measured=m.id,
        against=None if base is None else base.id,
        value=None if found is None else found.value,
        interval=None if found is None else found.interval,
        verdict=verdict,
        sentence=sentence,
    )


def _more(found: _Figure, limit: float, unit: str) -> str:
    """About how many more would decide: an interval shrinks with the square root of their number."""
    if found.interval is None:
        return f"{statistics.LEAST_ROUNDS if unit == 'rounds' else 20} {unit} give one"
    reach = found.interval.high - found.value if limit > found.value else found.value - found.interval.low
    distance = abs(limit - found.value)
    needed = found.count * (reach / distance) ** 2 if distance > 0 else math.inf
    if needed > _MOST_MORE:
        return f"so close to the limit that no number of {unit} will tell"
    step = 10 ** max(0, len(str(math.ceil(needed))) - 2)
    return f"about {max(math.ceil(needed / step) * step, found.count + 1)} {unit} would decide (--{unit})"
