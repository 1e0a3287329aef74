"""A report as CSV: one line per artifact, device and setting, in plain numbers; units stand in the columns' names."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Mapping
from csv import writer
from dataclasses import dataclass
from typing import Any

from edgecvx.report.join import DevicePart, Report, Row
from edgecvx.results.latency import percentile
from edgecvx.results.texts import shorten, writable

LONGEST = 300
"""Characters of one cell; what is longer is cut in the middle."""
Cell = str | int | float | None
QUANTILES = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """What a line is about; the columns name its values by their paths from here."""

    row: Row
    device: DevicePart | None = None
    """None where it was not measured."""


def _at(value: Any, path: str) -> Any:
    """What stands at the end of a path of attributes; None where there is no such thing on the way."""
    for name in path.split("."):
        value = None if value is None else getattr(value, name)
    return value


def _made(path: str, text: Callable[[Any], Cell]) -> Callable[[Line], Cell]:
    """A column with what is made of the value at a path."""

    def cell(line: Line) -> Cell:
        value = _at(line, path)
        return None if value is None else text(value)

    return cell


def _timed(prefix: str, path: str) -> dict[str, str | Callable[[Line], Cell]]:
    """The columns of a summary."""

    def quantile(q: float, end: str) -> Callable[[Line], Cell]:
        return _made(path, lambda summary: _at(percentile(summary, q), end))

    ends = {"": "ms", "_low": "interval.low", "_high": "interval.high"}
    return {
        f"{prefix}runs": f"{path}.samples",
        **{f"{prefix}p{100 * q:g}{end}_ms": quantile(q, of) for q in QUANTILES for end, of in ends.items()},
        **{f"{prefix}{name}_ms": f"{path}.{name}" for name in ("mean", "min", "max")},
    }


COLUMNS: Mapping[str, str | Callable[[Line], Cell]] = {
    **{name: f"row.identity.{name}" for name in ("file", "sha256", "model")},
    "task": "row.identity.task.value",
    **{name: f"row.identity.{name}" for name in ("target", "format", "precision", "runtime", "runtime_version")},
    "size_bytes": "row.identity.bytes",
    "fp32_bytes": "row.fp32_bytes",
    "int8_share": "row.measured.int8_share",
    "weights": _made("row.weights", lambda weights: f"{weights.kind} {weights.ref}"),
    "weights_license": "row.weights.license",
    "calibrated_on": "row.calibration.name",
    "calibration_pictures": "row.calibration.count",
    "device": "device.title",
    "device_id": "device.fingerprint.id",
    "reached_as": "device.fingerprint.name",
    "emulated": _made("device", lambda device: device.emulated or "no"),
    "measured_at_utc": "row.bench.before.at",
    **{name: f"row.measured.{name}" for name in ("threads", "batch", "backend", "arithmetic")},
    "options": _made("row.measured.options", lambda options: " ".join(f"{k}={v}" for k, v in options.items())),
    "error": "row.measured.error",
    "data": "row.accuracy.data.name",
    "data_sha256": "row.accuracy.data.sha256",
    "pictures": "row.accuracy.outcome.pictures",
    "verdict": "row.verdict",
    "top1_fp32_fraction": "row.paired.reference.value",
    "top1_fraction": "row.paired.artifact.value",
    "top1_change_fraction": "row.paired.delta",
    "top1_change_low_fraction": "row.paired.interval.low",
    "top1_change_high_fraction": "row.paired.interval.high",
    **_timed("", "row.measured.model_summary"),
    "pictures_per_second": "row.measured.model_summary.per_second",
    "ratio_to_fp32": "row.against_fp32.value",
    "ratio_to_fp32_low": "row.against_fp32.interval.low",
    "ratio_to_fp32_high": "row.against_fp32.interval.high",
    **_timed("end_to_end_", "row.measured.end_to_end_summary"),
    "load_ms": _made("row.measured.load_ns", lambda ns: ns / 1e6),
    "first_run_ms": _made("row.measured.first_ns", lambda ns: ns / 1e6),
    "told_by": "row.measured.told.tool",
    "told_mean_ms": "row.measured.told.mean",
    "sustained_slowdown_ratio": "row.measured.sustained.slowdown_ratio",
    **{f"{name}_memory_bytes": f"row.measured.memory.{name}" for name in ("runtime", "model", "peak")},
}
"""Of each the path to its value, or what makes a cell; empty where there is no such thing."""


def csv(report: Report) -> str:
    """The report's rows as CSV, with a header, by RFC 4180."""
    lines = [Line(row=row, device=device) for device in report.devices for row in device.rows]
    lines += [Line(row=row) for row in report.unmeasured]
    out = io.StringIO()
    into = writer(out, lineterminator="\r\n")
    into.writerow(COLUMNS)
    into.writerows([_defused(_cell(line, of)) for of in COLUMNS.values()] for line in lines)
    return writable(out.getvalue())


def _cell(line: Line, of: str | Callable[[Line], Cell]) -> Cell:
    found: Cell = _at(line, of) if isinstance(of, str) else of(line)
    return found


def _defused(cell: Cell) -> Cell:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front; a number stays a number."""
    if not isinstance(cell, str):
        return cell
    line = shorten(re.sub(r"[\x00-\x1f\x7f]+", " ", cell), LONGEST)
    return f"'{line}" if re.match(r"\s*[=+\-@＝＋－＠]", line) else line
