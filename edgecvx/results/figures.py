"""Numbers as people read them: the same words in every form of a report."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the command line's start needs these words, and not what results are made of
    from edgecvx.results.vocabulary import Interval, VerdictKind

MINUS = "\N{MINUS SIGN}"
VERDICTS: dict[VerdictKind, tuple[str, str]] = {
    "pass": ("✓", "pass"),
    "fail": ("✕", "fail"),
    "undecided": ("?", "undecided"),
    "none": ("–", "not judged"),
    "error": ("!", "error"),
}
"""Verdict -> its sign and its word; a colour never stands alone."""
ABSENT = "–"


def percent(fraction: float, digits: int = 2) -> str:
    """``93.12%``."""
    return f"{100 * fraction:.{digits}f}%"


def points(delta: float) -> str:
    """A difference of two rates in percentage points, always signed: ``−0.35``."""
    value = round(100 * delta, 2)
    return "0.00" if value == 0 else f"{'+' if value > 0 else MINUS}{abs(value):.2f}"


def span(interval: Interval) -> str:
    """``[−0.81, +0.10]``."""
    return f"[{points(interval.low)}, {points(interval.high)}]"


def decibels(value: float | None) -> str:
    """``41.3 dB``; where nothing differs there is no number to give."""
    return "identical" if value is None else f"{signed(value, 1)} dB"


def signed(value: float, digits: int) -> str:
    """A number with a real minus sign, and none at all in front of a zero."""
    text = f"{abs(value):.{digits}f}"
    return text if value >= 0 or float(text) == 0 else MINUS + text


def cosine(value: float) -> str:
    """Enough nines to tell the difference from 1: ``0.999987``."""
    return "1" if value >= 1.0 - 5e-10 else f"{signed(value, 9 if value > 0.99999 else 6)}"


def small(value: float) -> str:
    """A small positive number: ``0.013``, ``3.1e−06``."""
    text = f"{value:.2g}" if value >= 1e-3 or value == 0 else f"{value:.1e}"
    return text.replace("-", MINUS)


def p_value(value: float) -> str:
    """McNemar's p: ``p = 0.31``, ``p < 0.0001``."""
    return "p < 0.0001" if value < 1e-4 else f"p = {value:.2g}"


def megabytes(size: int, digits: int = 2) -> str:
    """``3.48 MB``."""
    return f"{size / 1e6:.{digits}f} MB"


def milliseconds(value: float, sure: Interval | None = None) -> str:
    """Three digits that count: ``41.2 ms``, ``0.412 ms``, ``4 120 ms``; ``41.2 ms [40.9, 41.6]``."""
    return f"{_three(value)} ms {interval_text(sure)}".rstrip()


def interval_text(interval: Interval | None) -> str:
    """An interval of positive numbers: ``[40.9, 41.6]``, with as many digits as it takes to tell its ends apart."""
    if interval is None:
        return ""
    low, high = interval.low, interval.high
    digits = next((n for n in (3, 4, 5) if _three(low, n) != _three(high, n)), 3)
    return f"[{_three(low, digits)}, {_three(high, digits)}]"


def times(value: float, sure: Interval | None = None) -> str:
    """A ratio: ``0.47×``; ``0.47× [0.45, 0.49]``."""
    return f"{_three(value)}× {interval_text(sure)}".rstrip()


def rate(value: float) -> str:
    """So many a second: ``24.3``."""
    return _three(value)


def _three(value: float, digits: int = 3) -> str:
    if not math.isfinite(value):
        return ABSENT
    if abs(value) >= 10 ** (digits - 1):
        return count(round(value))
    whole = math.floor(math.log10(abs(value))) + 1 if value else 1
    return signed(value, min(9, digits - whole))


def sentence(text: str) -> str:
    """A fragment as it stands in an error or a reason, as a sentence of its own; a file's name keeps its case."""
    text = text.strip()
    ended = text if text.endswith((".", "!", "?", "…")) else f"{text}."
    first = text.split(maxsplit=1)[0] if text else ""
    return ended if re.search(r"[._/\d]\w", first) else ended[:1].upper() + ended[1:]


def count(number: int) -> str:
    """``10 000``, with a thin space that does not break."""
    return f"{number:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def counted(number: int, one: str, many: str | None = None) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"
