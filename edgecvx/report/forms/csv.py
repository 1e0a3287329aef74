"""A report as CSV: one line per artifact, device and setting, in plain numbers; units stand in the columns' names."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Iterator, Mapping
from csv import writer
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

from edgecvx.report.join import DevicePart, Report, Row
from edgecvx.results.latency import percentile
from edgecvx.results.texts import shorten, writable

LONGEST = 300
"""Characters of one cell; what is longer is cut in the middle."""
QUANTILES = (0.5, 0.9, 0.95, 0.99)

Cell = str | int | float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Columns about one thing; they are empty where there is no such thing."""

    of: Callable[[DevicePart | None, Row], Any]
    columns: Mapping[str, Callable[[Any], Cell]]


def _same(*names: str) -> dict[str, Callable[[Any], Cell]]:
    """Columns that are called what the value calls them."""
    return {name: attrgetter(name) for name in names}


def _nanoseconds(name: str) -> Callable[[Any], Cell]:
    def milliseconds(value: Any) -> Cell:
        taken = getattr(value, name)
        return None if taken is None else taken / 1e6

    return milliseconds


def _outcome(_: DevicePart | None, row: Row) -> Any:
    return row.accuracy.outcome if row.accuracy else None


def _part(name: str) -> Callable[[DevicePart | None, Row], Any]:
    """A value inside the measurement."""
    return lambda _, row: getattr(row.measured, name) if row.measured else None


def _timed(prefix: str, summary: Callable[[DevicePart | None, Row], Any]) -> Iterator[Group]:
    yield Group(of=summary, columns={f"{prefix}runs": attrgetter("samples")})
    for q in QUANTILES:
        name = f"{prefix}p{100 * q:g}"

        def found(device: DevicePart | None, row: Row, q: float = q) -> Any:
            return percentile(summary(device, row), q)

        def interval(device: DevicePart | None, row: Row, q: float = q) -> Any:
            return getattr(percentile(summary(device, row), q), "interval", None)

        yield Group(of=found, columns={f"{name}_ms": attrgetter("ms")})
        yield Group(of=interval, columns={f"{name}_low_ms": attrgetter("low"), f"{name}_high_ms": attrgetter("high")})
    yield Group(of=summary, columns={f"{prefix}{name}_ms": attrgetter(name) for name in ("mean", "min", "max")})


GROUPS = (
    Group(
        of=lambda _, row: row.identity,
        columns={
            **_same("file", "sha256", "model"),
            "task": lambda i: i.task.value,
            **_same("target", "format", "precision", "runtime", "runtime_version"),
            "size_bytes": attrgetter("bytes"),
        },
    ),
    Group(of=lambda _, row: row, columns=_same("fp32_bytes")),
    Group(of=lambda _, row: row.measured, columns=_same("int8_share")),
    Group(
        of=lambda _, row: row.weights,
        columns={"weights": lambda w: f"{w.kind} {w.ref}", "weights_license": attrgetter("license")},
    ),
    Group(
        of=lambda _, row: row.calibration,
        columns={"calibrated_on": attrgetter("name"), "calibration_pictures": attrgetter("count")},
    ),
    Group(
        of=lambda device, _: device,
        columns={
            "device": attrgetter("title"),
            "device_id": attrgetter("fingerprint.id"),
            "reached_as": attrgetter("fingerprint.name"),
            "emulated": lambda device: device.emulated or "no",
        },
    ),
    Group(of=lambda _, row: row.bench, columns={"measured_at_utc": attrgetter("before.at")}),
    Group(
        of=lambda _, row: row.measured,
        columns={
            **_same("threads", "batch", "backend", "arithmetic"),
            "options": lambda m: " ".join(f"{name}={value}" for name, value in m.options.items()),
            "error": attrgetter("error"),
        },
    ),
    Group(
        of=lambda _, row: row.accuracy,
        columns={"data": attrgetter("data.name"), "data_sha256": attrgetter("data.sha256")},
    ),
    Group(of=_outcome, columns={"pictures": attrgetter("pictures"), "verdict": attrgetter("verdict.kind")}),
    Group(
        of=lambda _, row: row.paired,
        columns={
            "top1_fp32_fraction": attrgetter("reference.value"),
            "top1_fraction": attrgetter("artifact.value"),
            "top1_change_fraction": attrgetter("delta"),
            "top1_change_low_fraction": attrgetter("interval.low"),
            "top1_change_high_fraction": attrgetter("interval.high"),
        },
    ),
    *_timed("", _part("model_summary")),
    Group(of=_part("model_summary"), columns={"pictures_per_second": attrgetter("per_second")}),
    Group(of=lambda _, row: row.against_fp32, columns={"ratio_to_fp32": attrgetter("value")}),
    Group(
        of=lambda _, row: row.against_fp32 and row.against_fp32.interval,
        columns={"ratio_to_fp32_low": attrgetter("low"), "ratio_to_fp32_high": attrgetter("high")},
    ),
    *_timed("end_to_end_", _part("end_to_end_summary")),
    Group(
        of=lambda _, row: row.measured,
        columns={"load_ms": _nanoseconds("load_ns"), "first_run_ms": _nanoseconds("first_ns")},
    ),
    Group(of=_part("told"), columns={"told_by": attrgetter("tool"), "told_mean_ms": attrgetter("mean")}),
    Group(of=_part("sustained"), columns={"sustained_slowdown_ratio": attrgetter("slowdown_ratio")}),
    Group(
        of=_part("memory"),
        columns={f"{name}_memory_bytes": attrgetter(name) for name in ("runtime", "model", "peak")},
    ),
)


def csv(report: Report) -> str:
    """The report's rows as CSV, with a header, by RFC 4180."""
    rows: list[tuple[DevicePart | None, Row]] = [(device, row) for device in report.devices for row in device.rows]
    rows += [(None, row) for row in report.unmeasured]
    out = io.StringIO()
    into = writer(out, lineterminator="\r\n")
    into.writerow(name for group in GROUPS for name in group.columns)
    into.writerows(map(_defused, _cells(device, row)) for device, row in rows)
    return writable(out.getvalue())


def _cells(device: DevicePart | None, row: Row) -> Iterator[Cell]:
    for group in GROUPS:
        value = group.of(device, row)
        for cell in group.columns.values():
            yield None if value is None else cell(value)


def _defused(cell: Cell) -> Cell:
    """A text that a spreadsheet would run as a formula gets an apostrophe in front; a number stays a number."""
    if not isinstance(cell, str):
        return cell
    line = shorten(re.sub(r"[\x00-\x1f\x7f]+", " ", cell), LONGEST)
    return f"'{line}" if re.match(r"\s*[=+\-@＝＋－＠]", line) else line
