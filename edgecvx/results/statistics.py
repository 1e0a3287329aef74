"""What can be said from times that were measured: percentiles, ratios, noise, and how sure each of them is.

Times of a run are no textbook sample. They have a floor and a long tail, they come in turns that share a temperature
and a clock, and the machine drifts under them. Nothing here assumes a distribution, and every rule was chosen by
simulation (``tests/results/test_statistics.py``), with drift, a clock that is cut in the middle, noise that
whole turns share, and tails without a variance:

- A percentile is the nearest-rank one: a time that was really measured, never one between two.
- Its interval comes from the order of the samples (Woodruff's), for as many samples as there would be if turns had
  nothing in common: their number over the design effect, by which the turns differ more than chance lets them and
  neighbours are alike (``dependence.py``). Where that leaves too few, the median's is the range of the turns' medians,
  and percentiles beyond it have none, with the reason.
- A ratio is taken round by round, between turns a second apart, and the rounds are combined by the Hodges-Lehmann
  estimator with the interval of Wilcoxon's signed rank test, widened by what neighbouring rounds share. Against the
  sign test's and Student's t it was the narrowest: t loses its power to a single bad round, the sign test a quarter of
  it always.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from edgecvx.results.accuracy import Interval
from edgecvx.results.dependence import LEAST_IN_ROW, in_order_of_size, inflation
from edgecvx.results.intervals import Z95
from edgecvx.results.latency import Measured, Noise, Percentile, Ratio, Summary, Turn

ENOUGH: Mapping[float, int] = {0.5: 1, 0.9: 64, 0.95: 130, 0.99: 662}
"""Percentile -> the fewest samples it is given for: with that many, two or more lie beyond it with 99% certainty.
Below, what is called p90 is often just the slowest run."""

LEAST_ROUNDS = 8
"""For the interval of a ratio: with fewer, even their whole range covers less than 95% where rounds are a bit alike."""
LEAST_BLOCKS_OF_RANGE = 6
"""All of six lie on one side of their median in 3% of all cases; of five, in 6%."""
_LEAST_BLOCKS = 10
"""Turns from which the design effect can be told; fewer are cut into twice as many parts."""
_STEADY_SPREAD, _STEADY_DRIFT = 0.05, 0.03
"""A yardstick that spreads or drifts more than this tells of a machine that is busy or changes its clock."""

Floats = NDArray[np.float64]
Verdict = Literal["quiet", "noisy", "drifting"]


# --- one artifact ---------------------------------------------------------------------------------------------------


def summary(turns: Sequence[Turn], *, batch: int) -> Summary | None:
    """What all samples of some turns add up to; None where there are none.

    Args:
        turns: In the order they were made; those of one kind.
        batch: Pictures per run.
    """
    blocks = [np.array(turn.samples_ns, dtype=np.float64) / 1e6 for turn in turns if turn.samples_ns]
    if not blocks:
        return None
    samples = np.concatenate(blocks)
    return Summary(
        samples=len(samples),
        mean=float(samples.mean()),
        min=float(samples.min()),
        max=float(samples.max()),
        percentiles=tuple(percentile(blocks, q) for q, enough in ENOUGH.items() if len(samples) >= enough),
        per_second=batch * 1000 / float(samples.mean()),
        parts=_parts(turns),
    )


def percentile(blocks: Sequence[Floats], q: float) -> Percentile:
    """The nearest-rank percentile of samples that came in blocks, with its interval or why it has none.

    Args:
        blocks: At least one sample in at least one block; blocks share whatever a turn shares.
        q: Between 0 and 1.
    """
    ordered = np.sort(np.concatenate(blocks))
    found = _interval_of_percentile(_enough(blocks), ordered, q)
    interval, reason = (None, found) if isinstance(found, str) else (found, None)
    return Percentile(q=q, ms=_nearest(ordered, q), interval=interval, no_interval=reason)


def _nearest(ordered: Floats, q: float) -> float:
    return float(ordered[max(1, math.ceil(q * len(ordered) - 1e-9)) - 1])


def _interval_of_percentile(blocks: Sequence[Floats], ordered: Floats, q: float) -> Interval | str:
    """Order statistics as far out as a sample without blocks, of the effective size, would have them; or why not."""
    n, effect = len(ordered), _largest_effect(blocks, ordered, q)
    effective = 0 if effect is None else max(1, int(n / effect))
    found = ranks(effective, q) if effective else None
    if found is not None:
        low, high = math.floor(found[0] * n / effective), math.ceil(found[1] * n / effective)
        if high <= n:
            return Interval(low=float(ordered[max(low, 1) - 1]), high=float(ordered[high - 1]))
    if q <= 0.5 and len(blocks) >= LEAST_BLOCKS_OF_RANGE:
        middles = [_nearest(np.sort(block), q) for block in blocks]
        return Interval(low=min(middles), high=max(middles))
    if effective == 0:
        return "turns next to each other were alike, as on a machine that changes slowly: they tell too little apart"
    return f"{n} runs tell as much as {effective} that share nothing: too few for its ends"


def _largest_effect(blocks: Sequence[Floats], ordered: Floats, q: float) -> float | None:
    """The design effect of a percentile; beyond the median, the largest of it and of what lies around.

    Runs that were slow together are rare, and where a measurement met few of them its own percentile hides them.
    """
    around = (q,) if q <= 0.5 else (q - 0.1, q, (1 + q) / 2)
    effects = [design_effect(blocks, p, _nearest(ordered, p)) for p in around]
    return None if any(e is None for e in effects) else max(e for e in effects if e is not None)


def design_effect(blocks: Sequence[Floats], q: float, value: float) -> float | None:
    """By how much blocks that have something in common make a percentile less sure than as many free samples.

    The variance of the share of samples at or below ``value``, from block to block, over the binomial one, 1 at least;
    times what neighbouring blocks share; widened for the number of blocks by Student's t. None where neighbours are
    too much alike.
    """
    n, count = sum(map(len, blocks)), len(blocks)
    if count < 3:
        return 1.0
    residuals = np.array([np.count_nonzero(block <= value) - q * len(block) for block in blocks])
    shared = inflation(residuals) if count >= LEAST_IN_ROW else 1.0
    if shared is None:
        return None
    variance = count / (count - 1) * float(np.square(residuals).sum())
    return max(1.0, variance / (n * q * (1 - q)) * shared) * (_student95(count - 1) / Z95) ** 2


def _enough(blocks: Sequence[Floats]) -> Sequence[Floats]:
    """The blocks, or where they are few parts of them, so that a drift inside is seen."""
    if len(blocks) >= _LEAST_BLOCKS:
        return blocks
    samples = np.concatenate(blocks)
    return np.array_split(samples, min(2 * _LEAST_BLOCKS, len(samples)))


@functools.lru_cache(maxsize=256)
def ranks(n: int, q: float) -> tuple[int, int] | None:
    """The ranks, from 1, of the two of ``n`` samples that hold the true ``q`` percentile between them with 95%.

    Each leaves at most 2.5% outside. None where even the smallest or the largest sample leaves more.
    """
    counts = np.arange(n + 1, dtype=np.float64)
    log_factorials = np.concatenate(([0.0], np.cumsum(np.log(counts[1:]))))
    logs = log_factorials[n] - log_factorials - log_factorials[::-1]
    below = np.cumsum(np.exp(logs + counts * math.log(q) + (n - counts) * math.log1p(-q)))
    low = int(np.searchsorted(below, 0.025, side="right"))  # the largest rank with P(fewer than it lie below) <= 2.5%
    high = int(np.searchsorted(below, 0.975, side="left")) + 1
    return (low, high) if low >= 1 and high <= n else None


def _parts(turns: Sequence[Turn]) -> Mapping[str, float]:
    """The median of each part of an end-to-end run, in milliseconds, in the order the parts come in."""
    names = dict.fromkeys(name for turn in turns for name in turn.parts_ns)
    return {
        name: float(np.median(np.concatenate([turn.parts_ns.get(name, ()) for turn in turns]))) / 1e6 for name in names
    }


# --- two artifacts --------------------------------------------------------------------------------------------------


def ratios(measured: Sequence[Measured]) -> tuple[Ratio, ...]:
    """Of every two artifacts of the same batch that share a round; the later one over the earlier one."""
    medians = {m.id: round_medians(m.model) for m in measured}
    found = (
        ratio(medians[later.id], medians[earlier.id], names=(later.id, earlier.id))
        for earlier, later in itertools.combinations(measured, 2)
        if earlier.batch == later.batch
    )
    return tuple(r for r in found if r is not None)


def round_medians(turns: Sequence[Turn]) -> dict[int, float]:
    """Round -> the median of its turn; of the last one where a round was made again after a cut."""
    return {turn.round: float(np.median(turn.samples_ns)) for turn in turns if turn.samples_ns}


def ratio(of: Mapping[int, float], against: Mapping[int, float], *, names: tuple[str, str]) -> Ratio | None:
    """How long one takes against another, over the rounds both have a turn in; None where there is none.

    Args:
        of: Round -> the median of its turn.
        against: The same of the other one.
        names: The ids of both.
    """
    shared = sorted(of.keys() & against.keys())
    if not shared:
        return None
    logs = np.log([of[r] / against[r] for r in shared])
    value, interval = _exponential(middle_of_rounds(logs), logs)
    return Ratio(of=names[0], against=names[1], value=value, interval=interval, rounds=len(shared))


def _exponential(found: tuple[float, float, float] | None, logs: Floats) -> tuple[float, Interval | None]:
    """What was found in logarithms as a ratio and its interval, or without one the median alone."""
    if found is None:
        return math.exp(float(np.median(logs))), None
    return math.exp(found[0]), Interval(low=math.exp(found[1]), high=math.exp(found[2]))


def ratio_of(ratios: Sequence[Ratio], of: str, against: str) -> Ratio | None:
    """The ratio of these two, whichever way round it was taken."""
    for found in ratios:
        if (found.of, found.against) == (of, against):
            return found
        if (found.of, found.against) == (against, of):
            flipped = found.interval and Interval(low=1 / found.interval.high, high=1 / found.interval.low)
            return dataclasses.replace(found, of=of, against=against, value=1 / found.value, interval=flipped)
    return None


def middle_of_rounds(logs: Floats) -> tuple[float, float, float] | None:
    """The Hodges-Lehmann estimate of rounds in their order, its interval widened by what neighbours share.

    The whole range of the rounds where they are fewer than ten, or too much alike; None with fewer than eight.
    """
    found = hodges_lehmann(logs)
    if found is None or len(logs) < LEAST_ROUNDS:
        return None
    shared = inflation(in_order_of_size(logs)) if len(logs) >= LEAST_IN_ROW else None
    lowest, highest = float(logs.min()), float(logs.max())
    if shared is None:
        return found[0], lowest, highest
    (middle, low, high), wider = found, math.sqrt(shared)
    return middle, max(lowest, middle - wider * (middle - low)), min(highest, middle + wider * (high - middle))


def hodges_lehmann(values: Floats) -> tuple[float, float, float] | None:
    """The median of all means of two, and its 95% interval by Wilcoxon's signed rank test; None with too few values."""
    first, second = np.triu_indices(len(values))
    return _middle((values[first] + values[second]) / 2, signed_rank_quantile(len(values)))


def _middle(values: Floats, outside: int) -> tuple[float, float, float] | None:
    """The median, and the ends of what is left without so many on each side; None where that is less than none."""
    if outside < 0:
        return None
    ordered = np.sort(values)
    return float(np.median(ordered)), float(ordered[outside]), float(ordered[-1 - outside])


@functools.lru_cache(maxsize=256)
def signed_rank_quantile(n: int) -> int:
    """The largest w for which the sum of positive ranks is w or less with 2.5% or less; -1 where there is none.

    Exact up to 100 values, by counting the subsets of ranks with each sum, and normal beyond.
    """
    if n > 100:
        return int(n * (n + 1) / 4 - Z95 * math.sqrt(n * (n + 1) * (2 * n + 1) / 24))
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, n + 1):
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2
        chances[:rank] /= 2
    return int(np.searchsorted(np.cumsum(chances), 0.025, side="right")) - 1


# --- the machine ----------------------------------------------------------------------------------------------------


def noise(yardsticks_ns: Sequence[int]) -> Noise | None:
    """How steady the machine was, from its yardstick's times in the order they were taken; None with fewer than six."""
    times = np.array(yardsticks_ns, dtype=np.float64)
    if len(times) < 6:
        return None
    middle, third = float(np.median(times)), len(times) // 3
    low, high = np.quantile(times, (0.25, 0.75))
    spread, slowest = float(high - low) / middle, float(times.max()) / middle
    drift = float(np.median(times[-third:]) / np.median(times[:third])) - 1
    shift = _shift(np.log(times[:third]), np.log(times[-third:]))
    # A drift alone spreads the times by three quarters of itself; more spread than drift is noise in the first place.
    drifted = abs(drift) > max(_STEADY_DRIFT, spread) and (shift is None or shift[1] > 0 or shift[2] < 0)
    if drifted:
        verdict: Verdict = "drifting"
        meaning = "became slower on the way" if drift > 0 else "became faster on the way"
        meaning += ": ratios hold, because artifacts took turns; times alone are of a machine that changed"
    elif spread > _STEADY_SPREAD:
        verdict, meaning = "noisy", "was noisy: something else used it, or its clock moved; intervals are wide for that"
    else:
        verdict, meaning = "quiet", "was quiet"
    sentence = (
        f"The machine {meaning}. A fixed piece of work, timed {len(times)} times between the turns, spread by "
        f"{spread:.1%} (middle half), drifted by {drift:+.1%}, and took {slowest:.2f} times its median at worst."
    )
    return Noise(samples=len(times), spread=spread, drift=drift, slowest=slowest, verdict=verdict, sentence=sentence)


def slowdown(windows: Sequence[Turn]) -> tuple[float, Interval | None] | None:
    """The end of a sustained run over its beginning: the ratio, and its interval where there are windows enough.

    Beginning and end are a tenth of the time each, and four windows at least. The ratio is the median of all ratios
    between a window at the end and one at the beginning, with the interval of the Mann-Whitney test. None with fewer
    than two windows.
    """
    windows = [w for w in windows if w.samples_ns]
    if len(windows) < 2:
        return None
    tenth = (windows[-1].started - windows[0].started) / 10
    first = [w for w in windows if w.started - windows[0].started <= tenth]
    last = [w for w in windows if windows[-1].started - w.started <= tenth]
    least = min(4, len(windows) // 2)
    first, last = max(first, windows[:least], key=len), max(last, windows[-least:], key=len)
    before, after = (np.log([float(np.median(w.samples_ns)) for w in part]) for part in (first, last))
    return _exponential(_shift(before, after), after[:, None] - before[None, :])


def _shift(before: Floats, after: Floats) -> tuple[float, float, float] | None:
    """How much larger ``after`` is: the median of all differences, and its 95% interval by the Mann-Whitney test.

    None where both together are too few for an interval.
    """
    return _middle((after[:, None] - before[None, :]).ravel(), rank_sum_quantile(len(before), len(after)))


@functools.lru_cache(maxsize=256)
def rank_sum_quantile(m: int, n: int) -> int:
    """The largest u for which Mann-Whitney's U is u or less with 2.5% or less; -1 where there is none.

    Exact up to 30 values a side, by Mann and Whitney's own recurrence, and normal beyond.
    """
    if max(m, n) > 30:
        return int(m * n / 2 - Z95 * math.sqrt(m * n * (m + n + 1) / 12))
    # Coefficients of the Gaussian binomial (m + n over m): multiply by (1 - x^(n+i)), divide by (1 - x^i).
    counts = np.zeros(m * n + 1)
    counts[0] = 1.0
    for i in range(1, m + 1):
        if n + i < len(counts):
            counts[n + i :] -= counts[: -(n + i)].copy()
        for j in range(i, len(counts)):
            counts[j] += counts[j - i]
    return int(np.searchsorted(np.cumsum(counts) / math.comb(m + n, m), 0.025, side="right")) - 1


@functools.lru_cache(maxsize=256)
def _student95(freedom: int) -> float:
    """Student's t that leaves 2.5% on each side, by Cornish and Fisher's expansion: within 1% from 3 degrees on."""
    z, v = Z95, float(freedom)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / v**i for i, term in enumerate(terms, 1))
