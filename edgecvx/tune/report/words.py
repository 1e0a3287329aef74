"""A search as tables of words: what the page, the Markdown and the terminal have in common."""

from __future__ import annotations

from collections.abc import Sequence

from edgecvx.results.figures import ABSENT, counted, megabytes, milliseconds, percent, points, signed, span
from edgecvx.tune.report.values import Account, DeviceResult, Miss, Row, Tuned

COLUMNS = ("p50", "predicted", "top-1", "change", "pictures", "size")
ORDER = ("ship", "tied", "open", "kept", "breaks", "error", "predicted", "dropped")
VERDICTS = {"decided": "pass", "front": "none", "undecided": "undecided", "impossible": "fail"}
"""Ending -> the verdict whose sign and colour it has."""


def title(tuned: Tuned) -> str:
    """What was searched, in a line."""
    return f"Which file to ship: {', '.join(tuned.models)} for {', '.join(tuned.targets)}"


def lead(tuned: Tuned) -> str:
    """What was asked, and what it took."""
    from edgecvx.tune.race.limits import in_words

    limits = " and ".join(in_words(k, v) for k, v in tuned.limits.items()) or "no limit"  # type: ignore[arg-type]
    what = "the fastest file" if tuned.objective == "fastest" else "the file that is most often right"
    if not tuned.limits:
        what = "the front"
    seconds = sum(s.seconds for s in tuned.stages)
    return (
        f"Asked for: {what}, {limits}, at {', '.join(map(str, tuned.sizes))} px. {counted(tuned.candidates, 'file')} "
        f"could be written, beside those that mix their blocks; it took {duration(seconds)}."
    )


def duration(seconds: float) -> str:
    """``48 s``, ``12 minutes``."""
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} minutes"


def ordered(rows: Sequence[Row]) -> list[Row]:
    """What is shipped first, then by time."""
    return sorted(rows, key=lambda r: (ORDER.index(r.state), r.ms or r.predicted_ms or 0.0, r.name))


def cells(row: Row) -> tuple[str, ...]:
    """A row's figures, by ``COLUMNS``."""
    change = ABSENT
    if row.change is not None:
        change = points(row.change) + (f" {span(row.change_interval)}" if row.change_interval else "")
    return (
        milliseconds(row.ms, row.ms_interval) if row.ms is not None else ABSENT,
        milliseconds(row.predicted_ms) if row.predicted_ms is not None else ABSENT,
        percent(row.top1) if row.top1 is not None else ABSENT,
        change,
        str(row.pictures) if row.pictures else ABSENT,
        megabytes(row.bytes) if row.bytes is not None else ABSENT,
    )


def miss(found: Miss) -> tuple[str, ...]:
    """A prediction beside its measurement."""
    off = f"{'+' if found.off > 0 else ''}{signed(100 * found.off, 1)}%"
    return milliseconds(found.predicted_ms), milliseconds(found.ms), off, "yes" if found.mended else "no"


def account(found: Account) -> list[tuple[str, ...]]:
    """Where milliseconds and answers come from, the largest gain first."""
    parts = sorted(found.parts, key=lambda p: p.ms or 0.0)
    whole = sum(p.energy for p in parts) or 1.0
    return [
        (
            f"{part.decision}: {part.option}",
            ABSENT if part.ms is None else f"{'+' if part.ms > 0 else ''}{signed(part.ms, 3)} ms",
            percent(part.energy / whole, 1),
            "chosen" if part.chosen else "",
        )
        for part in parts
    ]


def summary(device: DeviceResult) -> str:
    """The verdict of a device."""
    return device.ending.sentence
