"""LiteRT's own ``benchmark_model``: how it is called, and what its text says.

It prints a line of statistics per phase, in microseconds; the last such line is that of the runs that count::

    count=50 first=32891 curr=33978 min=32641 max=34005 avg=33209.4 std=450
    Inference timings in us: Init: 855, First inference: 49060, Warmup (avg): 34825.1, Inference (avg): 33209.4

and, where asked, its memory in MiB. A phase of a single run has ``count=1 curr=...`` and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from edgecvx.errors import DeviceError
from edgecvx.latency.devices.programs import last_line
from edgecvx.results.latency import Memory, ToolTimings

NAME = "LiteRT benchmark_model"
_NUMBER = r"([0-9]{1,15}(?:\.[0-9]{1,15})?(?:e[+-]?[0-9]{1,2})?)(?![0-9.e])"
_COUNT = re.compile(r"\bcount=([0-9]{1,15})\b(.*)")
_FIELD = re.compile(rf"\b(curr|min|max|avg|std)={_NUMBER}")
_TIMINGS = re.compile(rf"Inference timings in us: Init: {_NUMBER}, First inference: {_NUMBER}")
_DELTA = re.compile(rf"Memory footprint delta from the start of the tool \(MB\): init={_NUMBER} overall={_NUMBER}")
_PEAK = re.compile(rf"Overall peak memory footprint \(MB\) via periodic monitoring: {_NUMBER}")
_REPLACED = re.compile(r"Replacing ([0-9]{1,9}) out of ([0-9]{1,9}) node\(s\) with delegate \(TfLiteXNNPackDelegate\)")
_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Round:
    """What one call of the tool told. Microseconds."""

    count: int
    mean: float
    min: float
    max: float
    std: float
    load: float
    first: float
    backend: str | None
    memory: Memory


def command(
    tool: str,
    graph: str,
    *,
    threads: int | None,
    runs: int,
    seconds: float | None,
    xnnpack: bool,
    memory: bool = False,
    warm_up: float = 0.5,
) -> list[str]:
    """The words that start it.

    Args:
        tool: Its path on the device.
        graph: That of the file.
        threads: None leaves it to the tool.
        runs: At least so many.
        seconds: And at least so long.
        xnnpack: Whether XNNPACK takes what it can.
        memory: Whether memory is watched, which takes time of its own.
        warm_up: Seconds of runs that do not count.
    """
    return [
        tool,
        f"--graph={graph}",
        *([] if threads is None else [f"--num_threads={threads}"]),
        f"--num_runs={runs}",
        f"--min_secs={seconds or 0:g}",
        f"--max_secs={max(600.0, 10.0 * runs, 3 * (seconds or 0)):g}",
        "--warmup_runs=1",
        f"--warmup_min_secs={warm_up:g}",
        f"--use_xnnpack={str(xnnpack).lower()}",
        *(["--report_peak_memory_footprint=true"] if memory else []),
    ]


def parse(text: str) -> Round:
    """Reads what a call printed.

    Raises:
        DeviceError: It printed no times; the message holds its last line.
    """
    phases, timings = _COUNT.findall(text), _TIMINGS.search(text)
    if not phases or timings is None:
        raise DeviceError(f"benchmark_model printed no times: {last_line(text)[:200] or 'it printed nothing'}")
    count, rest = int(phases[-1][0]), dict(_FIELD.findall(phases[-1][1]))
    fields = {name: float(value) for name, value in rest.items()}
    only = fields.get("curr", fields.get("avg", 0.0))
    found = Round(
        count=count,
        mean=fields.get("avg", only),
        min=fields.get("min", only),
        max=fields.get("max", only),
        std=fields.get("std", 0.0),
        load=float(timings[1]),
        first=float(timings[2]),
        backend=_backend(text),
        memory=_memory(text),
    )
    if count < 1 or found.mean <= 0:
        raise DeviceError(f"benchmark_model printed {count} runs of {found.mean:g} us, which cannot be")
    return found


def summarize(rounds: Sequence[Round]) -> ToolTimings:
    """All rounds together, as if the tool had made their runs in one go."""
    runs = sum(r.count for r in rounds)
    mean = sum(r.count * r.mean for r in rounds) / runs
    square = sum(r.count * (r.std**2 + r.mean**2) for r in rounds) / runs
    return ToolTimings(
        tool=NAME,
        runs=runs,
        mean=mean / 1e3,
        min=min(r.min for r in rounds) / 1e3,
        max=max(r.max for r in rounds) / 1e3,
        std=math.sqrt(max(0.0, square - mean**2)) / 1e3,
        means=tuple(r.mean / 1e3 for r in rounds),
    )


def _backend(text: str) -> str | None:
    """What really ran, where it says so."""
    replaced = _REPLACED.findall(text)
    if replaced:
        return f"XNNPACK, {sum(int(taken) for taken, _ in replaced)} of {replaced[0][1]} nodes"
    return "XNNPACK" if "XNNPACK delegate for CPU" in text else None


def _memory(text: str) -> Memory:
    delta, peak = _DELTA.search(text), _PEAK.search(text)
    return Memory(
        runtime=None,
        model=None if delta is None else round(float(delta[2]) * _MIB),
        peak=None if peak is None else round(float(peak[1]) * _MIB),
    )
