"""How sure one can be: intervals, McNemar's test and the verdict, from counts of pictures alone.

Reference and artifact answer the same pictures, so only the pictures on which one is right and the other is wrong
("lost" and "gained") tell anything about their difference; two separate intervals that overlap tell nothing.

The interval of the difference is Tango's score interval (Statistics in Medicine 17, 1998): every difference that a
score test at 5% would not reject. It was chosen by computing the coverage of five intervals exactly, over tables of
100 to 5,000 pictures: Wald's covers as little as 10% where few pictures flip and has no width where none does;
Agresti-Min's falls to 86%; Bonett-Price's and Newcombe's never fall below 95% but cover up to 100%, wider than needed,
until a dozen pictures flip. Tango's stays above 93% everywhere and is within 93% to 97% from about three expected
flips on. With fewer, the counts are too coarse for any interval to be that exact, and it covers more, up to 100%.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import UsageError
from edgecvx.results.accuracy import Gate, Interval, Paired, Rate, Verdict

Z95 = 1.959963984540054
"""The normal quantile that leaves 2.5% on each side."""

DEFAULT_MIN_RATIO = 0.99
_MOST_PICTURES = 10_000_000
"""Nobody labels more; a larger answer to "how many would decide" means: no number of pictures will."""


def wilson(correct: int, pictures: int) -> Interval:
    """Wilson's 95% interval of one rate; within [0, 1] and with a width even at 0 and at all."""
    _check_counts(correct, pictures)
    p, z2 = correct / pictures, Z95 * Z95
    centre = (p + z2 / (2 * pictures)) / (1 + z2 / pictures)
    half = Z95 / (1 + z2 / pictures) * math.sqrt(p * (1 - p) / pictures + z2 / (4 * pictures**2))
    # At the ends the formula is exact but its rounding is not.
    return Interval(
        low=0.0 if correct == 0 else max(0.0, centre - half),
        high=1.0 if correct == pictures else min(1.0, centre + half),
    )


def paired_interval(lost: float, gained: float, pictures: float) -> Interval:
    """Tango's 95% interval of (gained - lost) / pictures.

    Args:
        lost: Pictures that the reference alone gets right. Not necessarily whole, so that one can ask what more
            pictures at the same rates would tell.
        gained: Pictures that the artifact alone gets right.
        pictures: All of them.
    """
    _check_counts(lost, pictures)
    _check_counts(lost + gained, pictures)
    delta, statistic = (gained - lost) / pictures, partial(score, lost, gained, pictures)
    return Interval(
        low=_crossing(statistic, Z95, -1.0, delta) if delta > -1 else -1.0,
        high=_crossing(statistic, -Z95, delta, 1.0) if delta < 1 else 1.0,
    )


def mcnemar_p(lost: int, gained: int) -> float:
    """McNemar's exact mid-p, two-sided: how likely is an imbalance as large as this between lost and gained by chance.

    Where there is no difference, each flip is lost or gained like the toss of a coin. Mid-p counts the table that was
    seen by half: the plain exact test rejects far less often than it says on small counts, this one about as often,
    and it agrees with the score interval on which side of zero the difference lies.
    """
    _check_counts(lost, lost + gained or 1)
    flips, fewer = lost + gained, min(lost, gained)
    if lost == gained:
        return 1.0
    k = np.arange(fewer + 1)
    logs = [math.lgamma(flips + 1) - math.lgamma(i + 1) - math.lgamma(flips - i + 1) for i in k]
    chances = np.exp(np.array(logs) - flips * math.log(2.0))
    return float(min(1.0, 2.0 * chances.sum() - chances[-1]))


def compare(reference_right: NDArray[np.bool_], artifact_right: NDArray[np.bool_], *, top: int) -> Paired:
    """The paired result of two rows of right and wrong over the same pictures."""
    if reference_right.shape != artifact_right.shape or reference_right.ndim != 1 or not reference_right.size:
        raise UsageError(
            f"{reference_right.shape} answers cannot be paired with {artifact_right.shape}: the same pictures, and at "
            "least one, must have run through both"
        )
    n = len(reference_right)
    both = int(np.count_nonzero(reference_right & artifact_right))
    lost = int(np.count_nonzero(reference_right & ~artifact_right))
    gained = int(np.count_nonzero(~reference_right & artifact_right))
    return Paired(
        top=top,
        reference=_rate(both + lost, n),
        artifact=_rate(both + gained, n),
        both_right=both,
        lost=lost,
        gained=gained,
        both_wrong=n - both - lost - gained,
        delta=(gained - lost) / n,
        interval=paired_interval(lost, gained, n),
        p_value=mcnemar_p(lost, gained),
    )


def gate(min_ratio: float | None = None, max_drop: float | None = None) -> Gate:
    """The gate the user asked for: a ratio of the top-1 rates, or a drop in percentage points; not both."""
    if min_ratio is not None and max_drop is not None:
        raise UsageError("--min-ratio and --max-drop exclude each other: one gate decides")
    if max_drop is not None:
        if not 0.0 <= max_drop <= 100.0:
            raise UsageError(f"--max-drop {max_drop:g} does not work: it is in percentage points, from 0 to 100")
        text = f"top-1 at most {max_drop:g} points below the reference's"
        return Gate(kind="max_drop", value=max_drop, text=text)
    ratio = DEFAULT_MIN_RATIO if min_ratio is None else min_ratio
    if not 0.0 < ratio <= 1.0:
        raise UsageError(f"--min-ratio {ratio:g} does not work: it must lie above 0 and not above 1, 0.99 is usual")
    return Gate(kind="min_ratio", value=ratio, text=f"top-1 at least {ratio:.10g} of the reference's")


def judge(paired: Paired, rule: Gate) -> Verdict:
    """Pass only if the whole interval keeps the rule, fail only if the whole interval breaks it.

    For a ratio, the allowed drop follows from the reference's top-1 on these pictures. That this rate is itself an
    estimate moves the limit by (1 - ratio) times its error, a hundredth of what the interval already holds.
    """
    allowed = rule.value / 100 if rule.kind == "max_drop" else (1 - rule.value) * paired.reference.value
    found = (
        f"{_points(paired.delta)} points, 95% interval {_points(paired.interval.low)} to "
        f"{_points(paired.interval.high)}, over {paired.artifact.pictures} pictures; allowed {_points(-allowed)}"
    )
    if paired.interval.low >= -allowed:
        return Verdict(kind="pass", reason=f"the whole interval is within the gate: {found}", allowed_drop=allowed)
    if paired.interval.high < -allowed:
        return Verdict(kind="fail", reason=f"the whole interval is outside the gate: {found}", allowed_drop=allowed)
    needed = pictures_needed(paired.lost, paired.gained, paired.artifact.pictures, allowed)
    hint = (
        "so close to the gate that no number of pictures will tell"
        if needed is None
        else f"about {needed} pictures would decide at these rates"
    )
    return Verdict(
        kind="undecided",
        reason=f"the gate lies within the interval: {found}; {hint}",
        allowed_drop=allowed,
        pictures_needed=needed,
    )


def pictures_needed(lost: int, gained: int, pictures: int, allowed: float) -> int | None:
    """About how many pictures decide, if they go on to flip at these rates; two digits, None where none are enough."""

    def decided(n: float) -> bool:
        scale = n / pictures
        interval = paired_interval(lost * scale, gained * scale, n)
        return interval.low >= -allowed or interval.high < -allowed

    low, high = float(pictures), float(pictures)
    while not decided(high):
        low, high = high, 2 * high
        if high > _MOST_PICTURES:
            return None
    while high - low > 0.005 * high:
        middle = (low + high) / 2
        low, high = (low, middle) if decided(middle) else (middle, high)
    unit: int = 10 ** max(0, len(str(math.ceil(high))) - 2)
    return math.ceil(high / unit) * unit


def score(lost: float, gained: float, n: float, delta: float) -> float:
    """The score statistic of "the true difference is delta", normal if it is.

    ``q`` is the likeliest rate of losing under that hypothesis, the positive root of a quadratic; the variance of the
    difference is then ``(2 q + delta (1 - delta)) / n``.
    """
    distance = gained - lost - n * delta
    if distance == 0:
        return 0.0
    b = (2 * n - gained + lost) * delta - gained - lost
    c = -lost * delta * (1 - delta)
    q = (math.sqrt(max(b * b - 8 * n * c, 0.0)) - b) / (4 * n)
    variance = n * (2 * q + delta * (1 - delta))
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, distance)


def _crossing(function: Callable[[float], float], value: float, low: float, high: float) -> float:
    """Where a falling function takes a value."""
    for _ in range(60):  # 2 / 2**60: past the last bit
        middle = (low + high) / 2
        if function(middle) > value:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _rate(correct: int, pictures: int) -> Rate:
    return Rate(correct=correct, pictures=pictures, value=correct / pictures, interval=wilson(correct, pictures))


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}"


def _check_counts(part: float, whole: float) -> None:
    if not 0 <= part <= whole or whole <= 0:
        raise UsageError(f"{part:g} of {whole:g} pictures is no count")
