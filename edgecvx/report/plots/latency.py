"""Plots of how long artifacts take: trade-off, distributions, time lines.

Nothing is clipped: scales reach to the slowest run of all, logarithmic where that is far out. Where more runs are drawn
than a plot has columns of pixels, each column keeps its lowest and highest, so that no outlier is lost to thinning.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

from edgecvx.report import svg
from edgecvx.report.join import Front, Row
from edgecvx.report.markup import NARROW, WIDE, Html
from edgecvx.results.accuracy import Interval
from edgecvx.results.figures import counted, milliseconds, percent, times
from edgecvx.results.latency import Percentile, Sustained, Turn, percentile
from edgecvx.results.texts import shorten
from edgecvx.spec import is_quantized

WHISKERS_UP_TO = 16
"""Rows of a trade-off plot that are drawn with their intervals; more of them would hide each other."""
LABELS = 12
"""Names in a trade-off plot, at most; half of it on a phone."""
BAR = 4
"""Pixels."""
STEADY = 0.05
"""A time line always reaches this far from 1: a quiet machine has to look quiet."""
PARTS = ("decode", "prepare", "infer", "rank")
NS = 1e-6
"""Milliseconds of a nanosecond."""

Points = Sequence[svg.Point]


# --- accuracy against latency ---------------------------------------------------------------------------------------


def tradeoff(front: Front, *, width: int = WIDE) -> Html:
    """Top-1 over p50: further left is faster, further up is more often right; a line joins what nothing beats."""
    top, bottom, left, right = 16, 330 if width >= svg.BESIDE else 290, 52, width - 16
    spans = {row.key: _p50(row) for row in front.rows}
    whiskers = len(front.rows) <= WHISKERS_UP_TO
    sure = [p.interval if whiskers else None for p in spans.values()]
    x = svg.fitting([p.ms for p in spans.values()] + _ends(sure), left, right, pad=0.07)
    sure = [_top1_interval(row) if whiskers else None for row in front.rows]
    y = _rates([row.top1 or 0.0 for row in front.rows] + _ends(sure), bottom, top)
    parts = list(svg.y_axis(y, left, right, lambda v: f"{100 * v:g}%", ticks=5))
    parts += svg.x_axis(x, top, bottom, lambda v: f"{v:g}", ticks=8 if width >= svg.BESIDE else 4)
    if whiskers:
        parts += [mark for row in front.rows for mark in _crosses(row, spans[row.key], x, y)]
    corners = [(x(row.p50 or 0.0), y(row.top1 or 0.0)) for row in front.best]
    if len(corners) > 1:
        steps = "".join(f"H{svg.n(b)}V{svg.n(c)}" for _, (b, c) in pairwise(corners))
        parts.append(svg.path(f"M{svg.n(corners[0][0])} {svg.n(corners[0][1])}{steps}", "front"))
    best = {row.key for row in front.best}
    beaten = {row.key: by for row, by in front.dominated}
    for row in (*(r for r in front.rows if r.key not in best), *front.best):
        parts.append(_dot(row, x(row.p50 or 0.0), y(row.top1 or 0.0), row.key in best, beaten.get(row.key)))
    parts += _labels(front, x, y, left, right, width)
    parts.append(svg.axis_name(x, bottom, "p50 of the model alone, ms"))
    shows = "; ".join(
        f"{row.label}: {milliseconds(row.p50 or 0.0)}, {percent(row.top1 or 0.0)}" for row in front.rows[:20]
    )
    if len(front.rows) > 20:
        shows += f"; and {len(front.rows) - 20} more"
    if front.best:
        shows += ". On the Pareto front: " + ", ".join(row.label for row in front.best[:20]) + "."
    return svg.figure(width, bottom + 44, "Top-1 accuracy against latency", shows, parts)


def _p50(row: Row) -> Percentile:
    found = percentile(row.summary, 0.5)
    if found is None:
        raise ValueError(f"{row.label} has no p50")
    return found


def _ends(intervals: Iterable[Interval | None]) -> list[float]:
    return [end for i in intervals if i for end in (i.low, i.high)]


def _top1_interval(row: Row) -> Interval | None:
    """The artifact's rate, as sure as the paired change is: the reference's own rate is given."""
    top1 = row.paired
    if top1 is None:
        return None
    base = top1.reference.value
    return Interval(low=max(0.0, base + top1.interval.low), high=min(1.0, base + top1.interval.high))


def _rates(values: Sequence[float], start: float, end: float) -> svg.Scale:
    low, high = min(values), max(values)
    room = max(0.08 * (high - low), 0.002)
    return svg.Scale(low=max(0.0, low - room), high=min(1.0 + room / 2, high + room), start=start, end=end)


def _crosses(row: Row, p50: Percentile, x: svg.Scale, y: svg.Scale) -> Iterator[str]:
    px, py = x(p50.ms), y(row.top1 or 0.0)
    if p50.interval:
        yield svg.line(x.clamp(p50.interval.low), py, x.clamp(p50.interval.high), py, "spread")
    if interval := _top1_interval(row):
        yield svg.line(px, y.clamp(interval.low), px, y.clamp(interval.high), "spread")


def _dot(row: Row, x: float, y: float, best: bool, by: Row | None) -> str:
    """A square for FP32, a diamond for FP16, a dot for INT8; filled on the front."""
    verdict = row.verdict or "none"
    kind = f"dot {verdict}" + (" best" if best else "")
    tip = f"{row.label}: {milliseconds(row.p50 or 0.0)}, top-1 {percent(row.top1 or 0.0)}, {verdict}" + (
        "; on the front" if best else f"; {by.label} is at least as fast and as right" if by else ""
    )
    if is_quantized(row.identity.precision):
        return svg.circle(x, y, 5.5, kind, tip=tip)
    if row.identity.precision == "fp16":
        return svg.path(f"M{svg.n(x)} {svg.n(y - 7)}l7 7l-7 7l-7-7Z", kind, tip=tip)
    return svg.rect(x - 5, y - 5, 10, 10, kind, tip=tip)


def _labels(front: Front, x: svg.Scale, y: svg.Scale, left: float, right: float, width: int) -> Iterator[str]:
    """The names of those on the front first, then of the fastest others, as far as they do not lie on each other."""
    size, most = (26, LABELS) if width >= svg.BESIDE else (17, LABELS // 2)
    taken = [(x(r.p50 or 0.0) - 7, x(r.p50 or 0.0) + 7, y(r.top1 or 0.0)) for r in front.rows[:40]]
    rest = [row for row in front.rows if row not in front.best] if len(front.rows) <= 2 * LABELS else []
    for row in (*front.best, *rest)[:most]:
        name = shorten(row.label, size)
        px, py = x(row.p50 or 0.0), y(row.top1 or 0.0)
        half = svg.CHARACTER * len(name) / 2
        around = [(px, py - 12), (px, py + 22), (px + half + 11, py + 4), (px - half - 11, py + 4)]
        around += [(px + side * (half - 6), py + below) for side in (1, -1) for below in (-12, 22)]
        for cx, cy in around:
            box = (cx - half, cx + half, cy - 4)
            free = all(box[1] < a or b < box[0] or abs(box[2] - c) > 13 for a, b, c in taken)
            if free and left < box[0] and box[1] < right + 8 and y.end + 6 < cy < y.start - 2:
                taken.append(box)
                yield svg.text(cx, cy, name, "name-of middle" + (" best" if row in front.best else ""))
                break


# --- distributions --------------------------------------------------------------------------------------------------


def _relative_scale(every: Iterable[Sequence[float]], start: float, end: float) -> svg.BrokenScale:
    """Of times over their own median: broken only where single runs are far out."""
    values = sorted(v for row in every for v in row)
    low, high = values[0], values[-1]
    usual = values[min(len(values) - 1, int(0.98 * len(values)))]
    room = 0.08 * (usual - low) or 0.01
    turn = usual + room
    if high < usual + 1.5 * (usual - low):
        turn = high = high + room
    return svg.BrokenScale(
        low=low - room, turn=turn, high=max(turn, 1.05 * high) if high > turn else turn, start=start, end=end
    )


def strips(rows: Sequence[Row], *, width: int = WIDE) -> Html:
    """Every run of every row over the row's own median: how often each time came, p90, and the slowest of all."""
    layout = svg.Rows(width=width, names=[row.label for row in rows], pitch=38)
    top, bottom = layout.top, layout.bottom
    every = {row.key: [max(s, 1) * NS / _p50(row).ms for s in _samples(row)] for row in rows}
    x = _relative_scale(every.values(), **layout.ends)
    parts = list(svg.x_axis(x, top, bottom, lambda v: f"{v:g}×", ticks=10 if layout.beside else 5))
    if x.high > x.turn:
        parts.append(svg.rect(x.middle, top, x.end - x.middle, bottom - top, "stage"))
        parts.append(svg.text(x.middle + 6, bottom + 36, "logarithmic →", "note"))
    for i, row in enumerate(rows):
        parts += _strip(row, every[row.key], x, layout.middle(i) + 10)
        parts += layout.label(i, milliseconds(_p50(row).ms))
    parts.append(svg.text((x.start + x.middle) / 2, bottom + 36, "over the artifact's own p50", "axis-name"))
    shows = "; ".join(
        f"{row.label}: p50 {milliseconds(_p50(row).ms)}, slowest {times(max(every[row.key]))}" for row in rows
    )
    return svg.figure(width, bottom + 44, "Every timed run of the model alone, over its median", shows, parts)


def _strip(row: Row, samples: Sequence[float], x: svg.BrokenScale, y: float) -> Iterator[str]:
    """A bar of a few pixels per time that came, as high as it came often; a single run is still three pixels high."""
    columns: dict[int, int] = {}
    for value in samples:
        column = round(x(value) / BAR)
        columns[column] = columns.get(column, 0) + 1
    most = max(columns.values())
    heights = {c: 3 + 19 * k / most for c, k in columns.items()} if most > 1 else dict.fromkeys(columns, 12.0)
    yield svg.line(x.start, y, x.end, y, "grid")
    drawn = "".join(f"M{BAR * c} {svg.n(y)}v-{svg.n(h)}" for c, h in sorted(heights.items()))
    yield svg.path(drawn, "runs", tip=f"{row.label}: {counted(len(samples), 'run')}")
    p50 = _p50(row).ms
    for q, kind in ((0.5, "p50"), (0.9, "p90")):
        if found := percentile(row.summary, q):
            px = x.clamp(found.ms / p50)
            tip = f"{kind} {milliseconds(found.ms, found.interval)}{', no interval' if found.no_interval else ''}"
            yield svg.path(f"M{svg.n(px)} {svg.n(y + 4)}V{svg.n(y - 24)}", kind, tip=tip)
    slowest = max(samples)
    tip = f"{row.label}: the slowest run, {milliseconds(slowest * p50)}, {times(slowest)} the median"
    yield svg.circle(x(slowest), y - 4, 3.5, "slowest", tip=tip)


def _samples(row: Row) -> tuple[int, ...]:
    return tuple(s for turn in (row.measured.model if row.measured else ()) for s in turn.samples_ns)


def with_samples(rows: Iterable[Row]) -> list[Row]:
    """Those whose single runs are known."""
    return [row for row in rows if row.p50 is not None and _samples(row)]


def in_order(row: Row, *, width: int = NARROW) -> Html:
    """The runs of one row, one after the other."""
    values = [max(s, 1) * NS for s in _samples(row)]
    top, bottom, left, right = 10, 150, 52, width - 14
    y = svg.fitting([min(values), max(values)], bottom, top, pad=0.06)
    x = svg.Scale(low=0, high=max(1, len(values) - 1), start=left + 4, end=right - 4)
    parts = list(svg.y_axis(y, left, right, lambda v: f"{v:g}", ticks=4))
    parts.append(svg.path(_columns([(x(i), y(v)) for i, v in enumerate(values)]), "points"))
    if found := percentile(row.summary, 0.5):
        parts.append(svg.line(left, y.clamp(found.ms), right, y.clamp(found.ms), "zero"))
    parts.append(svg.text((left + right) / 2, bottom + 22, "run after run, ms", "axis-name"))
    shows = f"{counted(len(values), 'run')} from {milliseconds(min(values))} to {milliseconds(max(values))}."
    return svg.figure(width, bottom + 30, "Run after run", shows, parts)


def _columns(points: Points) -> str:
    """A path of dots; where several fall into one column of pixels, a line from the lowest to the highest of them."""
    columns: dict[int, list[float]] = {}
    for px, py in points:
        column = columns.setdefault(round(px), [py, py])
        column[0], column[1] = min(column[0], py), max(column[1], py)
    return "".join(f"M{c} {svg.n(a)}v{svg.n(max(0.1, b - a))}" for c, (a, b) in sorted(columns.items()))


# --- end to end -----------------------------------------------------------------------------------------------------


def stages(rows: Sequence[Row], *, width: int = WIDE) -> Html:
    """Where the time goes from a picture's bytes to the five likeliest classes: the median of each part."""
    layout = svg.Rows(width=width, names=[row.label for row in rows], pitch=30)
    medians = {row.key: _parts(row) for row in rows}
    highest = max(sum(m.values()) for m in medians.values())
    x = svg.Scale(low=0, high=1.02 * highest, **layout.ends)
    ticks = 8 if layout.beside else 4
    drawn = list(svg.x_axis(x, layout.top, layout.bottom, lambda v: f"{v:g}", ticks=ticks))
    for i, row in enumerate(rows):
        done = 0.0
        for place, (part, value) in enumerate(medians[row.key].items()):
            tip = f"{row.label}: {part} {milliseconds(value)}"
            kind = f"part{PARTS.index(part) if part in PARTS else place % 4}"
            drawn.append(svg.rect(x(done), layout.middle(i) - 8, x(done + value) - x(done), 16, kind, tip=tip))
            done += value
        drawn += layout.label(i, milliseconds(done))
    drawn.append(svg.axis_name(x, layout.bottom, "milliseconds, sum of the parts' medians"))
    shows = "; ".join(
        f"{row.label}: " + ", ".join(f"{part} {milliseconds(v)}" for part, v in medians[row.key].items())
        for row in rows
    )
    return svg.figure(width, layout.bottom + 44, "Where the time goes, end to end", shows, drawn)


def _parts(row: Row) -> Mapping[str, float]:
    summary = row.measured.end_to_end_summary if row.measured else None
    known = {name: max(0.0, value) for name, value in (summary.parts if summary else {}).items()}
    return {**{name: known[name] for name in PARTS if name in known}, **known}


def with_parts(rows: Iterable[Row]) -> list[Row]:
    """Those that were also measured end to end."""
    return [row for row in rows if sum(_parts(row).values()) > 0]


# --- over time ------------------------------------------------------------------------------------------------------


def timeline(rows: Sequence[Row], *, width: int = WIDE) -> Html:
    """The whole call: each turn's median over the artifact's own, the yardstick, and what the sensors said."""
    turns = [(turn, _p50(row).ms) for row in rows if row.measured for turn in row.measured.model if turn.samples_ns]
    start = min(t.started for t, _ in turns)
    medians = [(t.started - start, statistics.median(t.samples_ns) * NS / usual) for t, usual in turns]
    yardstick = sorted((t.started - start, float(t.yardstick_ns)) for t, _ in turns if t.yardstick_ns)
    usual = statistics.median([v for _, v in yardstick]) if yardstick else 1.0
    steady = [(s, v / usual) for s, v in yardstick]
    panels = _Panels(turns=[t for t, _ in turns], width=width)
    y = svg.fitting([1 - STEADY, 1 + STEADY, *(v for _, v in (*medians, *steady))], panels.bottom, panels.top, pad=0.08)
    parts = list(svg.y_axis(y, panels.left, panels.right, lambda v: f"{v:g}×", ticks=5))
    parts.append(svg.line(panels.left, y.clamp(1.0), panels.right, y.clamp(1.0), "zero"))
    if steady:
        parts.append(svg.path(_columns([(panels.x(s), y(v)) for s, v in steady]), "yardstick"))
    parts.append(svg.path(_columns([(panels.x(s), y(v)) for s, v in medians]), "points"))
    parts += panels.drawn()
    low, high = min(v for _, v in medians), max(v for _, v in medians)
    shows = f"{counted(len(turns), 'turn')}, medians from {times(low)} to {times(high)} of the artifact's own."
    return svg.figure(width, panels.height, "Over the whole measurement", shows, parts)


def lasting(row: Row, run: Sustained, *, width: int = WIDE) -> Html:
    """Runs without a pause for minutes: the median of every few seconds, and what the sensors said."""
    windows = [w for w in run.windows if w.samples_ns]
    medians = [(w.started - windows[0].started, statistics.median(w.samples_ns) * NS) for w in windows]
    panels = _Panels(turns=windows, width=width)
    y = svg.fitting([v for _, v in medians], panels.bottom, panels.top, pad=0.1)
    parts = list(svg.y_axis(y, panels.left, panels.right, lambda v: f"{v:g}", ticks=5))
    parts.append(svg.path(_curve([(panels.x(s), y(v)) for s, v in medians]), "curve"))
    parts += panels.drawn()
    shows = f"{row.label}: from {milliseconds(medians[0][1])} at first to {milliseconds(medians[-1][1])} at the end."
    return svg.figure(width, panels.height, "Without a pause", shows, parts)


class _Panels:
    """A time axis with room for a plot, and below it a panel for each thing the sensors said."""

    left, top, bottom, panel = 52, 12, 190, 66

    def __init__(self, *, turns: Sequence[Turn], width: int) -> None:
        self.right = width - 14
        first, last = min(t.started for t in turns), max(t.started for t in turns)
        self._scale = svg.Scale(low=0.0, high=max(1.0, last - first), start=self.left + 4, end=self.right - 4)
        ordered = sorted(turns, key=lambda t: t.started)
        known = {
            "°C": [(t.started - first, t.celsius) for t in ordered if t.celsius is not None],
            "MHz": [(t.started - first, t.mhz) for t in ordered if t.mhz is not None],
        }
        self._sensors = {name: points for name, points in known.items() if len(points) > 1}
        self.height = self.bottom + self.panel * len(self._sensors) + 44

    def x(self, seconds: float) -> float:
        """The pixel of a moment, in seconds since the first turn."""
        return self._scale.clamp(seconds)

    def drawn(self) -> Iterator[str]:
        """The panels and the time axis."""
        bottom = float(self.bottom)
        for name, points in self._sensors.items():
            low, high = min(v for _, v in points), max(v for _, v in points)
            y = svg.Scale(low=low, high=high if high > low else low + 1, start=bottom + self.panel, end=bottom + 28)
            for value in dict.fromkeys((low, high)):
                yield svg.line(self.left, y(value), self.right, y(value), "grid")
                yield svg.text(self.left - 7, y(value) + 4, f"{value:.0f}", "tick end")
            yield svg.text(self.right, y(high) - 6, name, "note end")
            yield svg.path(
                _curve([(self.x(s), y(v)) for s, v in points]), f"sensor {'hot' if name == '°C' else 'clock'}"
            )
            bottom += self.panel
        minutes = self._scale.high > 180
        unit = 60.0 if minutes else 1.0
        axis = svg.Scale(low=0.0, high=self._scale.high / unit, start=self._scale.start, end=self._scale.end)
        yield from svg.x_labels(axis, bottom, lambda v: f"{v:g}", ticks=8 if self.right > svg.BESIDE else 4)
        yield svg.axis_name(axis, bottom, f"{'minutes' if minutes else 'seconds'} into the measurement")


def _curve(points: Points) -> str:
    """A line; of several points in one column of pixels the first, lowest, highest and last are kept."""
    columns: dict[int, list[tuple[float, float]]] = {}
    for point in points:
        columns.setdefault(round(point[0]), []).append(point)
    kept: list[tuple[float, float]] = []
    for _, column in sorted(columns.items()):
        ends = (column[0], min(column, key=lambda p: p[1]), max(column, key=lambda p: p[1]), column[-1])
        kept += dict.fromkeys(sorted(ends, key=column.index))
    return svg.joined(kept)
