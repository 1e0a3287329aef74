"""Tests for a race that is looked at again and again: how surprising, and when that is enough.

A race stops when its answer is safe, so it is tested at several looks. Each look may spend an equal part of the 5%,
and within a look Holm's step-down spends it on what is still open. The union bound over looks holds whatever the looks
have in common, and a claim that was settled leaves its part to the others: for the first true hypothesis to fall, its
p has to be below the look's part over at least the number of true ones.

All p-values here are one-sided and say how likely data as clear as these are where the claim is wrong.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.results.intervals import score

ALPHA = 0.05
"""For all claims of a race together, both ways."""
_EXACT_UP_TO = 100


def below_zero(values: NDArray[np.float64]) -> float:
    """Wilcoxon's signed rank test of "these values lie around zero or above it"."""
    if not len(values):
        return 1.0
    order = np.argsort(np.abs(values), kind="stable")
    ranks = np.empty(len(values))
    ranks[order] = np.arange(1, len(values) + 1)
    return signed_rank_tail(len(values), int(ranks[values >= 0].sum()))


def signed_rank_tail(n: int, total: int) -> float:
    """How likely the ranks of the positive ones of ``n`` values around zero sum up to so much or less."""
    if n > _EXACT_UP_TO:
        deviation = math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        return normal_tail((n * (n + 1) / 4 - total - 0.5) / deviation)
    return float(_signed_rank_sums(n)[total])


@functools.lru_cache(maxsize=128)
def _signed_rank_sums(n: int) -> NDArray[np.float64]:
    chances = np.zeros(n * (n + 1) // 2 + 1)
    chances[0] = 1.0
    for rank in range(1, n + 1):
        chances[rank:] = (chances[rank:] + chances[:-rank]) / 2
        chances[:rank] /= 2
    return np.cumsum(chances)


def drop_at_most(reference: NDArray[np.bool_], right: NDArray[np.bool_], allowed: float) -> tuple[float, float]:
    """P-values of "at most so much is lost" and of "more is", by the score test of paired proportions.

    Args:
        reference: Which pictures the one to compare with got right.
        right: Which this one did; the same pictures.
        allowed: A fraction of the pictures; negative where something has to be gained.
    """
    lost, gained = int(np.count_nonzero(reference & ~right)), int(np.count_nonzero(~reference & right))
    if not len(right):
        return 1.0, 1.0
    z = score(lost, gained, len(right), -allowed)
    return normal_tail(z), normal_tail(-z)


def right_at_least(right: NDArray[np.bool_], rate: float) -> tuple[float, float]:
    """P-values of "at least this part is right" and of "less is": the exact binomial tails."""
    n, k = len(right), int(np.count_nonzero(right))
    if not n:
        return 1.0, 1.0
    if rate >= 1:
        return 1.0, float(k == n)
    return _binomial_from(n, k, rate), 1.0 - _binomial_from(n, k + 1, rate)


def _binomial_from(n: int, k: int, rate: float) -> float:
    """How likely ``k`` or more of ``n`` are."""
    i = np.arange(k, n + 1)
    if not len(i):
        return 0.0
    whole = math.lgamma(n + 1)
    logs = np.array([whole - math.lgamma(j + 1) - math.lgamma(n - j + 1) for j in i.tolist()])
    return float(min(1.0, np.exp(logs + i * math.log(rate) + (n - i) * math.log1p(-rate)).sum()))


def normal_tail(z: float) -> float:
    """How likely a normal value is beyond ``z``."""
    return 0.5 * math.erfc(z / math.sqrt(2))


def normal_quantile(p: float) -> float:
    """The value beyond which a normal one is with probability ``p``."""
    low, high = -40.0, 40.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if normal_tail(middle) > p else (low, middle)
    return high


def holm(p_values: Mapping[Any, float], alpha: float) -> frozenset[Any]:
    """The claims that hold together at a level: the smallest p is held against all of them, the next against one less.

    Args:
        p_values: Claim -> its p.
        alpha: How often any of those that are returned may be wrong.
    """
    settled = set()
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for index, (claim, p) in enumerate(ordered):
        if p > alpha / (len(ordered) - index):
            break
        settled.add(claim)
    return frozenset(settled)


def times_more(p: float, needed: float) -> float | None:
    """How many times as much data settles a claim that has this p, if it goes on like that; None for never."""
    z = normal_quantile(p)
    return (normal_quantile(needed) / z) ** 2 if z > 1e-3 else None
