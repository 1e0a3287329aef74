"""The elements every plot is made of: scales, axes, lines and text as inline SVG.

Numbers in, markup out. Colours, fonts and line widths are the page's (``assets/report.css.j2``): an element here only
says what it is, by its class, so that one plot serves both colour schemes and the printer. Text is escaped where it
enters.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from edgecvx.report.markup import Html
from edgecvx.results.texts import shorten

Number = float | int
Point = tuple[float, float]
BESIDE = 600
"""From this width on, names stand beside what they name."""
CHARACTER = 6.3
"""About the width of one character of the page's small text."""
LONGEST, LONGEST_TIP = 4000, 400
"""Characters of one text, and of what pointing at something says."""
LOGARITHMIC_FROM = 4.0
"""Largest over smallest; below, a plain scale shows the differences just as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """From values to pixels; linear, where a kind of it does not say otherwise."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def clamp(self, value: float) -> float:
        """The pixel of a value, or of the nearer end of the scale."""
        return self(min(self.high, max(self.low, value)))

    def ticks(self, count: int) -> list[float]:
        """About ``count`` round values within the scale: multiples of 1, 2 or 5 times a power of ten."""
        step = nice_step((self.high - self.low) / max(1, count))
        first = math.ceil(self.low / step - 1e-9)
        last = math.floor(self.high / step + 1e-9)
        return [round(i * step, 12) for i in range(first, last + 1)]


class LogScale(Scale):
    """Of positive values, by their logarithm: a value and its double are as far apart everywhere."""

    __slots__ = ()

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        part = math.log(max(value, 1e-300) / self.low) / math.log(self.high / self.low)
        return self.start + part * (self.end - self.start)

    def ticks(self, count: int) -> list[float]:
        """1, 2, 5 times powers of ten, or the powers alone where those do."""
        decades = range(math.floor(math.log10(self.low)) - 1, math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = [round(m * 10.0**d, 12) for d in decades for m in steps if self.low <= m * 10.0**d <= self.high]
            if len(found) <= 1.5 * count:
                return found
        stride = math.ceil(len(found) / count)
        return found[::stride]


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenScale(Scale):
    """Linear to ``turn``, where nearly all values lie, and logarithmic from there to the farthest of all."""

    turn: float

    @property
    def middle(self) -> float:
        """The pixel of the turn."""
        return self.start + (0.76 if self.high > self.turn else 1.0) * (self.end - self.start)

    def __call__(self, value: float) -> float:
        """The pixel of a value."""
        return self._near(value) if value <= self.turn else self._far(value)

    def ticks(self, count: int) -> list[float]:
        """Round values in both parts."""
        far = self._far.ticks(count // 3) if self.end > self.middle else []
        return [*self._near.ticks(max(2, 3 * count // 4)), *(v for v in far if self(v) > self.middle + 24)]

    @property
    def _near(self) -> Scale:
        return Scale(low=self.low, high=self.turn, start=self.start, end=self.middle)

    @property
    def _far(self) -> LogScale:
        return LogScale(low=self.turn, high=self.high, start=self.middle, end=self.end)


def fitting(values: Sequence[float], start: float, end: float, *, pad: float = 0.04) -> Scale:
    """A scale on which all of these positive values lie: logarithmic where the largest is many times the smallest.

    Nothing is cut off: an outlier makes the scale logarithmic, not the plot blind to it.
    """
    low, high = max(min(values), 1e-9), max(*values, 1e-9)
    if high / low > LOGARITHMIC_FROM:
        room = (high / low) ** pad
        return LogScale(low=low / room, high=high * room, start=start, end=end)
    room = pad * (high - low) or 0.05 * high
    return Scale(low=max(0.0, low - room), high=high + room, start=start, end=end)


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below ``rough``."""
    power = 10.0 ** math.floor(math.log10(rough))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= rough * (1 - 1e-9))


# --- axes -----------------------------------------------------------------------------------------------------------


def x_axis(scale: Scale, top: float, bottom: float, tick: Callable[[float], str], *, ticks: int) -> Iterator[str]:
    """Vertical lines at round values, with their numbers below."""
    for value in scale.ticks(ticks):
        yield line(scale(value), top, scale(value), bottom, "grid")
    yield from x_labels(scale, bottom, tick, ticks=ticks)


def x_labels(
    scale: Scale, bottom: float, tick: Callable[[float], str], *, ticks: int, whole: bool = False
) -> Iterator[str]:
    """Round values below a plot; with ``whole`` only whole numbers."""
    for value in scale.ticks(ticks):
        if not whole or value == round(value):
            yield text(scale(value), bottom + 16, tick(value), "tick middle")


def y_axis(scale: Scale, left: float, right: float, tick: Callable[[float], str], *, ticks: int) -> Iterator[str]:
    """Horizontal lines at round values, with their numbers on the left."""
    for value in scale.ticks(ticks):
        yield line(left, scale(value), right, scale(value), "grid")
        yield text(left - 7, scale(value) + 4, tick(value), "tick end")


def axis_name(scale: Scale, bottom: float, name: str) -> str:
    """What an axis measures, below its numbers."""
    return text((scale.start + scale.end) / 2, bottom + 36, name, "axis-name")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A row per artifact: its name beside what is drawn or, on a phone, above it, and its figure at the right end."""

    width: int
    names: Sequence[str]
    pitch: float
    """On a phone, where a row has two lines, it is 18 more."""

    top = 10

    @property
    def beside(self) -> bool:
        """Whether names stand beside."""
        return self.width >= BESIDE

    @property
    def ends(self) -> dict[str, float]:
        """Where a scale starts and ends."""
        left = min(300.0, 24 + CHARACTER * max(map(len, self.names))) if self.beside else 10.0
        return {"start": left, "end": self.width - (140 if self.beside else 14)}

    @property
    def bottom(self) -> float:
        """Below the last row."""
        return self.at(len(self.names))

    def at(self, row: int) -> float:
        """Where a row begins."""
        return self.top + row * (self.pitch + (0 if self.beside else 18))

    def middle(self, row: int) -> float:
        """Of what is drawn in a row."""
        return self.at(row) + self.pitch / 2 + (0 if self.beside else 18)

    def label(self, row: int, figures: str, short: str | None = None) -> Iterator[str]:
        """A row's name and figures; ``short`` is what a phone has room for."""
        y = self.at(row) + (self.pitch / 2 + 4 if self.beside else 18)
        x = self.ends["start"]
        name = shorten(self.names[row], 42 if self.beside else 34)
        yield text(x - 14, y, name, "label end") if self.beside else text(x, y, name, "label")
        yield text(
            self.width - (0 if self.beside else 14), y, figures if self.beside else short or figures, "value end"
        )


# --- elements -------------------------------------------------------------------------------------------------------


def figure(width: Number, height: Number, title: str, shows: str, parts: Iterable[str]) -> Html:
    """The whole plot, with a title and a sentence that says what it shows for whoever cannot see it."""
    return Html(
        f'<svg viewBox="0 0 {n(width)} {n(height)}" width="{n(width)}" height="{n(height)}" role="img"'
        f' aria-label="{_escaped(f"{title}. {shows}")}">'
        f"<title>{_escaped(title)}</title><desc>{_escaped(shows)}</desc>{''.join(parts)}</svg>"
    )


def line(x1: Number, y1: Number, x2: Number, y2: Number, kind: str) -> str:
    """A straight line."""
    return f'<line class="{kind}" x1="{n(x1)}" y1="{n(y1)}" x2="{n(x2)}" y2="{n(y2)}"/>'


def path(d: str, kind: str, *, tip: str = "") -> str:
    """A path of SVG's own commands."""
    return f'<path class="{kind}" d="{d}"' + _close("path", tip)


def joined(points: Iterable[Point]) -> str:
    """The commands of a line through points."""
    return "M" + "L".join(f"{n(x)} {n(y)}" for x, y in points)


def rect(x: Number, y: Number, w: Number, h: Number, kind: str, *, radius: Number = 0, tip: str = "") -> str:
    """A rectangle; ``tip`` is what pointing at it says."""
    rounded = f' rx="{n(radius)}"' if radius else ""
    size = f'width="{n(max(0, w))}" height="{n(max(0, h))}"'
    return f'<rect class="{kind}" x="{n(x)}" y="{n(y)}" {size}{rounded}' + _close("rect", tip)


def circle(x: Number, y: Number, r: Number, kind: str, *, tip: str = "") -> str:
    """A dot; ``tip`` is what pointing at it says."""
    return f'<circle class="{kind}" cx="{n(x)}" cy="{n(y)}" r="{n(r)}"' + _close("circle", tip)


def text(x: Number, y: Number, content: str, kind: str, *, tip: str = "") -> str:
    """A line of text; ``x`` is its beginning, its middle or its end by the class."""
    inner = f"<title>{_escaped(tip, LONGEST_TIP)}</title>" if tip else ""
    return f'<text class="{kind}" x="{n(x)}" y="{n(y)}">{inner}{_escaped(content)}</text>'


def _close(tag: str, tip: str) -> str:
    return f"><title>{_escaped(tip, LONGEST_TIP)}</title></{tag}>" if tip else "/>"


def _escaped(content: str, most: int = LONGEST) -> str:
    """Text inside a plot: no markup, and no more of it than somebody reads."""
    return html.escape(shorten(content, most))


def n(value: Number) -> str:
    """A number of pixels, to a tenth, in as few characters as it takes."""
    return f"{round(float(value), 1):g}"
