"""Plots of how well artifacts answer.

Colours, fonts and line widths are the page's (``assets/report.css.j2``): an element here only says what it is, by its
class, so that one plot serves both colour schemes and the printer. Every plot carries a title and a sentence that says
what it shows; text is escaped where it enters.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

from edgecvx.report import svg
from edgecvx.report.markup import NARROW, WIDE, Html
from edgecvx.results.accuracy import ArtifactOutcome, ClassResult, Histogram, Interval, LayerError, RunningDelta
from edgecvx.results.figures import MINUS, counted, decibels, percent, points, signed, span
from edgecvx.results.texts import shorten


def forest(outcomes: Sequence[ArtifactOutcome], *, width: int = WIDE) -> Html:
    """Each artifact's change in top-1 with its 95% interval, against what is allowed; those without one are left out.

    An interval is what decides: all of it right of the allowed drop passes, all of it left fails.
    """
    judged = [(o, o.top1) for o in outcomes if o.top1]
    if not judged:
        return Html()
    rows = svg.Rows(width=width, names=[o.identity.file for o, _ in judged], pitch=38)
    allowed = max(o.verdict.allowed_drop or 0.0 for o, _ in judged)
    x = svg.Scale(**_reach([top1.interval for _, top1 in judged], allowed), **rows.ends)
    top, bottom = rows.top, rows.bottom
    parts = list(svg.x_axis(x, top, bottom, _short, ticks=6 if rows.beside else 4))
    parts.append(svg.line(x(0), top, x(0), bottom, "zero"))
    for i, (o, top1) in enumerate(judged):
        if o.verdict.allowed_drop is not None:
            end, above, below = x.clamp(-o.verdict.allowed_drop), rows.at(i), rows.at(i + 1)
            parts.append(svg.rect(x.start, above, end - x.start, below - above, "forbidden"))
            parts.append(svg.line(end, above, end, below, "allowed"))
        parts += _whisker(x, rows.middle(i), top1.delta, top1.interval, o.verdict.kind)
        parts += rows.label(i, f"{points(top1.delta)} {span(top1.interval)}", points(top1.delta))
    parts.append(svg.axis_name(x, bottom, "change in top-1, percentage points"))
    shows = "; ".join(f"{o.identity.file}: {points(t.delta)} {span(t.interval)}, {o.verdict.kind}" for o, t in judged)
    return svg.figure(width, bottom + 44, "Change in top-1 accuracy", shows, parts)


def _short(value: float) -> str:
    return points(value).removesuffix(".00")


def _reach(intervals: Sequence[Interval], allowed: float) -> dict[str, float]:
    """Far enough for the allowed drops and most intervals; what lies beyond is drawn as an arrow."""
    low = min(-1.6 * allowed, *(i.low for i in intervals), -0.002)
    high = max(0.5 * allowed, *(i.high for i in intervals), 0.002)
    most = 8 * max(allowed, 0.01)
    pad = 0.04 * (min(high, most) - max(low, -most))
    return {"low": max(low, -most) - pad, "high": min(high, most) + pad}


def _whisker(x: svg.Scale, y: float, delta: float, interval: Interval, verdict: str) -> Iterator[str]:
    low, high, middle = x.clamp(interval.low), x.clamp(interval.high), x.clamp(delta)
    kind = f"whisker {verdict}"
    yield svg.line(low, y, high, y, kind)
    for end, value, out in ((low, interval.low, -6), (high, interval.high, 6)):
        if x.low <= value <= x.high:
            yield svg.line(end, y - 5, end, y + 5, kind)
        else:
            yield svg.path(svg.joined([(end - out, y - 5), (end, y), (end - out, y + 5)]), kind)
    yield svg.rect(middle - 5, y - 5, 10, 10, f"centre {verdict}", radius=2)


def running(steps: Sequence[RunningDelta], allowed_drop: float | None, *, width: int = NARROW) -> Html:
    """How the delta and its interval settle as pictures are added."""
    top, bottom, left = 12, 190, 46
    low = min(min(s.interval.low for s in steps[len(steps) // 6 :]), -1.3 * (allowed_drop or 0.0), -0.002)
    high = max(max(s.interval.high for s in steps[len(steps) // 6 :]), 0.002)
    x = svg.Scale(low=0, high=max(s.pictures for s in steps), start=left, end=width - 18)
    y = svg.Scale(low=low, high=high, start=bottom, end=top)
    parts = list(svg.y_axis(y, left, width - 18, _short, ticks=4))
    parts += svg.x_labels(x, bottom, lambda v: f"{v:g}", ticks=4 if width < 600 else 8)
    upper = [(x(s.pictures), y.clamp(s.interval.high)) for s in steps]
    lower = [(x(s.pictures), y.clamp(s.interval.low)) for s in reversed(steps)]
    parts.append(svg.path(svg.joined([*upper, *lower]) + "Z", "band"))
    if allowed_drop is not None:
        parts.append(svg.line(left, y(-allowed_drop), width - 18, y(-allowed_drop), "allowed"))
        parts.append(svg.text(width - 20, y(-allowed_drop) - 5, "allowed drop", "note end"))
    parts.append(svg.line(left, y(0), width - 18, y(0), "zero"))
    parts.append(svg.path(svg.joined((x(s.pictures), y.clamp(s.delta)) for s in steps), "curve"))
    parts.append(svg.axis_name(x, bottom, "pictures"))
    last = steps[-1]
    change = f"{points(last.delta)} {span(last.interval)}"
    shows = f"After {counted(last.pictures, 'picture')} the change in top-1 is {change} points."
    return svg.figure(width, bottom + 44, "How the change settles, percentage points", shows, parts)


def cosine_histogram(histogram: Histogram, *, width: int = NARROW) -> Html:
    """How far each picture's output turned away from the reference's; edges are decimal logarithms of 1 - cosine."""
    total = sum(histogram.counts)
    close = sum(c for c, end in zip(histogram.counts, histogram.edges[1:], strict=True) if end <= -4 + 1e-9)
    return _bars(
        histogram,
        title="Distance of the outputs, 1 − cosine",
        shows=f"{percent(close / (total or 1), 1)} of {counted(total, 'picture')} have a cosine of at least 0.9999.",
        axis="1 − cosine, logarithmic; further left is closer",
        logarithmic=True,
        width=width,
    )


def confidence_histogram(histogram: Histogram, *, width: int = NARROW) -> Html:
    """How much more or less sure the artifact is of the class that the reference puts first."""
    total = counted(sum(histogram.counts), "picture")
    return _bars(
        histogram,
        title="Change in confidence",
        shows=f"Over {total}; left of zero the artifact is less sure of the reference's answer.",
        axis="change in probability of the reference's answer",
        logarithmic=False,
        width=width,
    )


def _bars(histogram: Histogram, *, title: str, shows: str, axis: str, logarithmic: bool, width: int) -> Html:
    """A histogram, cut to the bins that hold something, with two empty ones on either side and never fewer than ten."""
    filled = [i for i, c in enumerate(histogram.counts) if c]
    if not filled:
        return Html()
    around = max(2, (11 - (filled[-1] - filled[0])) // 2)
    first = max(0, filled[0] - around)
    last = min(len(histogram.counts), max(filled[-1] + around + 1, first + 10))
    counts, edges = histogram.counts[first:last], histogram.edges[first : last + 1]
    top, bottom, left = 12, 190, 46
    x = svg.Scale(low=edges[0], high=edges[-1], start=left, end=width - 18)
    y = svg.Scale(low=0, high=max(counts) * 1.06, start=bottom, end=top)
    parts = list(svg.y_axis(y, left, width - 18, lambda v: f"{v:g}", ticks=4))
    for value, (low, high) in zip(counts, pairwise(edges), strict=True):
        if value:
            # A bin with one picture among thousands must still be seen.
            height, room = max(1.5, bottom - y(value)), max(1.0, x(high) - x(low) - 1.5)
            ends = (f"{10**v:.1e}" if logarithmic else signed(v, 3) for v in (low, high))
            tip = f"{' to '.join(ends)}: {counted(value, 'picture')}"
            parts.append(svg.rect(x(low) + 0.75, bottom - height, room, height, "bar", tip=tip))
    parts += svg.x_labels(x, bottom, _power if logarithmic else lambda v: signed(v, 2), ticks=6, whole=logarithmic)
    if edges[0] < 0 < edges[-1] and not logarithmic:
        parts.append(svg.line(x(0), top, x(0), bottom, "zero"))
    parts.append(svg.axis_name(x, bottom, axis))
    return svg.figure(width, bottom + 44, title, shows, parts)


def _power(logarithm: float) -> str:
    return "10" + str(round(logarithm)).translate(str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"))


def class_changes(classes: Sequence[ClassResult], *, width: int = NARROW) -> Html:
    """Per class: pictures lost to the left, gained to the right."""
    pitch, top = 30, 22
    bottom = top + pitch * len(classes)
    lost, gained = max(1, *(c.lost for c in classes)), max(1, *(c.gained for c in classes))
    label = min(0.42 * width, 12 + svg.CHARACTER * max(min(len(c.label), 22) for c in classes))
    # Room for the numbers at both ends, and no bar longer than its count deserves.
    unit = min((width - 10 - label - 80) / (lost + gained), 22)
    middle = label + 40 + lost * unit
    parts = [
        svg.text(middle - 6, 10, "lost", "axis-name end"),
        svg.text(middle + 6, 10, "gained", "axis-name start"),
    ]
    for i, c in enumerate(classes):
        y = top + i * pitch + pitch / 2
        pictures = counted(c.pictures, "picture")
        tip = f"{c.label}: {c.reference_correct} of {pictures} right before, {c.artifact_correct} after"
        parts.append(svg.text(label - 10, y + 4, shorten(c.label, 22), "label end", tip=c.label))
        if c.lost:
            parts.append(svg.rect(middle - c.lost * unit, y - 8, c.lost * unit, 16, "lost", tip=tip))
        if c.gained:
            parts.append(svg.rect(middle, y - 8, c.gained * unit, 16, "gained", tip=tip))
        parts.append(svg.text(middle - c.lost * unit - 6, y + 4, f"{MINUS}{c.lost}", "value end"))
        if c.gained:
            parts.append(svg.text(middle + c.gained * unit + 6, y + 4, f"+{c.gained}", "value"))
    parts.append(svg.line(middle, top, middle, bottom, "zero"))
    shows = "; ".join(f"{c.label}: {c.lost} lost, {c.gained} gained of {c.pictures}" for c in classes)
    return svg.figure(width, bottom + 8, "Classes that lost most", shows, parts)


def depth(layers: Sequence[LayerError], marked: Sequence[LayerError], *, width: int = WIDE) -> Html:
    """The signal-to-noise ratio of every inner tensor along the network: what arrives, and what is born there.

    Args:
        layers: In the order of the network.
        marked: The suspects; the first few are named.
        width: In pixels.
    """
    top, bottom, left, right = 30, 290, 46, width - 12
    x = svg.Scale(low=-0.5, high=max(1, len(layers)) - 0.5, start=left, end=right)
    figures = [v for layer in layers for v in (layer.sqnr_db, layer.local_sqnr_db) if v is not None]
    y = svg.Scale(low=min(0.0, *(max(-40.0, f - 6) for f in figures)), high=_CEILING, start=bottom, end=top)
    parts = list(_stages(layers, x, top, bottom, named=width >= 600))
    parts += svg.y_axis(y, left, right, lambda v: signed(v, 0), ticks=6)
    place = [
        (x(i), y.clamp(_shown(layer.sqnr_db)), y.clamp(_shown(layer.local_sqnr_db))) for i, layer in enumerate(layers)
    ]
    parts.append(svg.path(svg.joined((px, py) for px, py, _ in place), "curve"))
    suspected = {layer.name for layer in marked}
    for layer, (px, py, local) in zip(layers, place, strict=True):
        tip = f"{layer.name} ({layer.kind}): {decibels(layer.sqnr_db)}; born here {decibels(layer.local_sqnr_db)}"
        parts.append(svg.circle(px, py, 1.8, "arrived"))
        radius, kind = (4.5, "suspect") if layer.name in suspected else (3, "born")
        parts.append(svg.circle(px, local, radius, kind, tip=tip))
    parts += _names(layers, marked, place, width)
    parts.append(svg.text((left + right) / 2, bottom + 26, "depth of the network →", "axis-name"))
    worst = min(layers, key=lambda layer: _shown(layer.local_sqnr_db))
    born = f"the largest error is born in {worst.name}, {decibels(worst.local_sqnr_db)}."
    shows = f"{counted(len(layers), 'tensor')}; {born}"
    if marked:
        shows += " Standing out: " + ", ".join(layer.name for layer in marked) + "."
    return svg.figure(width, bottom + 34, "Signal to noise along the depth, dB", shows, parts)


_CEILING = 156.0
"""Float32 ends at about 150 dB; a tensor that is identical is drawn at the ceiling."""


def _shown(value: float | None) -> float:
    return _CEILING - 2 if value is None else min(value, _CEILING - 2)


def _stages(layers: Sequence[LayerError], x: svg.Scale, top: float, bottom: float, *, named: bool) -> Iterator[str]:
    """A band behind every second part of the network, and the parts' names."""
    parts = [_part(layer.name) for layer in layers]
    starts = [i for i, part in enumerate(parts) if i == 0 or part != parts[i - 1]]
    for order, (start, end) in enumerate(zip(starts, [*starts[1:], len(parts)], strict=True)):
        first, last = x(start - 0.5), x(end - 0.5)
        if order % 2:
            yield svg.rect(first, top, last - first, bottom - top, "stage")
        name = parts[start] if named else parts[start].removeprefix("stage ")
        if last - first >= svg.CHARACTER * len(name):
            yield svg.text((first + last) / 2, top - 10, name, "note middle")


def _part(name: str) -> str:
    pieces = name.split(".")
    return (
        f"stage {pieces[1]}" if pieces[0] == "stages" and len(pieces) > 1 else "stem" if pieces[0] == "stem" else "head"
    )


def _names(
    layers: Sequence[LayerError], marked: Sequence[LayerError], place: Sequence[tuple[float, float, float]], width: int
) -> Iterator[str]:
    """The names of the worst suspects beside their dots, each where it does not run out of the plot."""
    index = {layer.name: i for i, layer in enumerate(layers)}
    for layer in marked[:2]:
        px, _, py = place[index[layer.name]]
        side = "end" if px > width / 2 else "start"
        yield svg.text(px + (7 if side == "start" else -7), py - 8, layer.name, f"name {side}")
