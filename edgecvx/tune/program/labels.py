"""A chain solved by labels: a dynamic program, and the check of ``milp``.

A label is what a choice up to some position comes to. Of two that end in the same option, one that is worse in nothing
replaces the other; one from which no way leads within the limits is dropped. What is left at the end holds the best
choice, and the whole front.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgecvx.tune.program.chain import SLACK, Chain, Costs, Solution, non_dominated

Floats = NDArray[np.float64]


def solve_chain(chain: Chain, objective: str = "ms") -> Solution | None:
    """The choice of options with the least of the objective that keeps the limits; None where there is none."""
    found = _Program(chain, (objective, *chain.limits)).solutions()
    return min(found, key=lambda s: s.totals.get(objective, 0.0), default=None)


def front_of_chain(chain: Chain, objective: str = "ms", against: str = "loss") -> tuple[Solution, ...]:
    """All choices that keep the limits and that nothing beats in both, the best in the objective first."""
    return non_dominated(_Program(chain, (objective, against, *chain.limits)).solutions(), objective, against)


@dataclass(frozen=True, slots=True)
class _Labels:
    """All that end in one option: what each comes to, and the options that lead to it."""

    totals: Floats
    """One row per label, one column per quantity."""
    ways: Sequence[tuple[str, ...]]

    def kept(self, rows: NDArray[np.intp]) -> _Labels:
        return _Labels(self.totals[rows], [self.ways[row] for row in rows])


class _Program:
    """One chain, and the quantities that labels are compared by."""

    def __init__(self, chain: Chain, quantities: Sequence[str]) -> None:
        self._chain = chain
        self._quantities = tuple(dict.fromkeys(quantities))
        limits = [chain.limits.get(quantity, np.inf) for quantity in self._quantities]
        self._room = np.array([limit + SLACK * max(1.0, abs(limit)) for limit in limits])
        self._rest = self._least_rest()

    def solutions(self) -> list[Solution]:
        chain = self._chain
        if not chain.positions:
            totals = chain.totals({})
            return [Solution(chain=chain.name, choices={}, totals=totals)] if chain.keeps(totals) else []
        labels = {
            option: self._best(_Labels(self._vector(chain.base)[None] + self._vector(costs), [(option,)]), 0, option)
            for option, costs in chain.positions[0].options.items()
        }
        for index, position in enumerate(chain.positions[1:], 1):
            labels = {option: self._extended(labels, index, option) for option in position.options}
        names = [position.name for position in chain.positions]
        found = [dict(zip(names, way, strict=True)) for ended in labels.values() for way in ended.ways]
        return [Solution(chain=chain.name, choices=choices, totals=chain.totals(choices)) for choices in found]

    def _extended(self, labels: dict[str, _Labels], index: int, there: str) -> _Labels:
        """The labels that end in an option of a position, from those of the position before it."""
        costs = self._vector(self._chain.positions[index].options[there])
        totals = [
            found.totals + costs + self._vector(self._chain.border(index - 1, here, there))
            for here, found in labels.items()
        ]
        ways = [(*way, there) for found in labels.values() for way in found.ways]
        return self._best(_Labels(np.concatenate(totals), ways), index, there)

    def _best(self, labels: _Labels, index: int, option: str) -> _Labels:
        """Those from which a way leads within the limits, and which no other replaces."""
        within = labels.totals + self._rest[index][option] <= self._room
        inside = labels.kept(np.flatnonzero(within.all(axis=1)))
        return inside.kept(_not_dominated(inside.totals))

    def _least_rest(self) -> list[dict[str, Floats]]:
        """What each quantity comes to at least behind an option, each taken alone."""
        positions = self._chain.positions
        rest = [{option: np.zeros(len(self._quantities)) for option in p.options} for p in positions]
        for i in range(len(positions) - 2, -1, -1):
            for here in positions[i].options:
                ways = [
                    self._vector(self._chain.border(i, here, there)) + self._vector(costs) + rest[i + 1][there]
                    for there, costs in positions[i + 1].options.items()
                ]
                rest[i][here] = np.min(ways, axis=0)
        return rest

    def _vector(self, costs: Costs) -> Floats:
        return np.array([costs.get(quantity, 0.0) for quantity in self._quantities])


def _not_dominated(totals: Floats) -> NDArray[np.intp]:
    """The rows that no other row is at most as large as everywhere; the first of equal ones."""
    order = np.lexsort(totals.T[::-1])
    if totals.shape[1] == 1:
        return order[:1]
    if totals.shape[1] == 2:
        second = totals[order, 1]
        before = np.minimum.accumulate(np.concatenate(([np.inf], second[:-1])))
        return np.asarray(order[second < before])
    kept: list[int] = []
    for row in order:
        if not kept or not (totals[kept] <= totals[row]).all(axis=1).any():
            kept.append(int(row))
    return np.array(kept, dtype=np.intp)
