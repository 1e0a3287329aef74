"""The plot of a search: every candidate by time and answers, measured and predicted, and the limits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from edgecvx.report import svg
from edgecvx.report.markup import WIDE, Html
from edgecvx.results.accuracy import Interval
from edgecvx.results.figures import milliseconds, percent
from edgecvx.results.texts import shorten
from edgecvx.tune.report.values import DeviceResult, Row

KINDS = {
    "ship": "pass best",
    "tied": "pass",
    "kept": "none",
    "breaks": "fail",
    "predicted": "undecided",
    "error": "error",
}
"""State -> the class of its mark."""
NAMED = 8
"""Files that are named, at most; half of it on a phone."""


def placed(rows: Sequence[Row]) -> list[tuple[Row, float, float]]:
    """Rows that have a place: their time and answers, as measured, or as predicted."""
    found = []
    for row in rows:
        ms = row.ms if row.ms is not None else row.predicted_ms
        top1 = row.top1 if row.top1 is not None else row.predicted_top1
        if ms is not None and top1 is not None and row.state != "dropped":
            found.append((row, ms, top1))
    return found


def candidates(device: DeviceResult, max_p50: float | None, *, width: int = WIDE) -> Html:
    """Left is faster, up is more often right; what was measured has its 95% intervals."""
    shown = placed(device.rows)
    top, bottom, left, right = 16, 330 if width >= svg.BESIDE else 290, 52, width - 16
    times = [ms for _, ms, _ in shown] + [end for row, *_ in shown for end in _ends(row.ms_interval)]
    x = svg.fitting([*times, *([max_p50] if max_p50 else [])], left, right, pad=0.07)
    rates = [top1 for *_, top1 in shown] + [end for row, *_ in shown for end in _ends(_top1_interval(row))]
    room = max(0.08 * (max(rates) - min(rates)), 0.002)
    y = svg.Scale(low=max(0.0, min(rates) - room), high=min(1.0 + room / 2, max(rates) + room), start=bottom, end=top)
    parts = list(svg.y_axis(y, left, right, lambda v: f"{100 * v:g}%", ticks=5))
    parts += svg.x_axis(x, top, bottom, lambda v: f"{v:g}", ticks=8 if width >= svg.BESIDE else 4)
    if max_p50 is not None:
        parts.append(svg.line(x.clamp(max_p50), top, x.clamp(max_p50), bottom, "allowed"))
        parts.append(svg.text(x.clamp(max_p50) - 6, top + 12, f"limit {max_p50:g} ms", "tick end"))
    for row, ms, top1 in sorted(shown, key=lambda item: item[0].state == "ship"):
        parts += _mark(row, x(ms), y(top1), x, y)
    parts += _names(shown, x, y, NAMED if width >= svg.BESIDE else NAMED // 2, right)
    parts.append(svg.axis_name(x, bottom, "p50 of the model alone, ms"))
    shows = "; ".join(f"{row.name}: {milliseconds(ms)}, {percent(top1)}, {row.state}" for row, ms, top1 in shown[:20])
    return svg.figure(width, bottom + 44, "Candidates by time and answers", shows, parts)


def _mark(row: Row, px: float, py: float, x: svg.Scale, y: svg.Scale) -> Iterator[str]:
    if row.ms_interval is not None:
        yield svg.line(x.clamp(row.ms_interval.low), py, x.clamp(row.ms_interval.high), py, "spread")
    if (sure := _top1_interval(row)) is not None:
        yield svg.line(px, y.clamp(sure.low), px, y.clamp(sure.high), "spread")
    tip = f"{row.name}: {row.why}"
    kind = f"dot {KINDS.get(row.state, 'none')}"
    if row.ms is None or row.top1 is None:
        yield svg.path(f"M{svg.n(px)} {svg.n(py - 5)}l5 5l-5 5l-5-5Z", kind, tip=tip)
    else:
        yield svg.circle(px, py, 6.5 if row.state == "ship" else 5, kind, tip=tip)


def _names(
    shown: Sequence[tuple[Row, float, float]], x: svg.Scale, y: svg.Scale, most: int, right: float
) -> Iterator[str]:
    """The names of those that raced, the one to ship first, where they hit no other name."""
    raced = [item for item in shown if item[0].top1 is not None]
    taken: list[tuple[float, float, float]] = []
    for row, ms, top1 in sorted(raced, key=lambda item: item[0].state not in ("ship", "tied"))[:most]:
        name = shorten(row.name, 34)
        size = svg.CHARACTER * len(name)
        end = x(ms) + 12 + size > right
        start = x(ms) - 12 - size if end else x(ms) + 12
        for place in (y(top1) + 4, y(top1) - 10, y(top1) + 18):
            if all(abs(place - other) > 13 or start > b or start + size < a for a, b, other in taken):
                taken.append((start, start + size, place))
                yield svg.text(start, place, name, "tick start")
                break


def _ends(interval: Interval | None) -> list[float]:
    return [] if interval is None else [interval.low, interval.high]


def _top1_interval(row: Row) -> Interval | None:
    """As sure as the paired change is: the reference's own rate is given."""
    if row.change_interval is None or row.top1 is None or row.change is None:
        return None
    base = row.top1 - row.change
    return Interval(low=max(0.0, base + row.change_interval.low), high=min(1.0, base + row.change_interval.high))
