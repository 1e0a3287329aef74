"""A file as a chain of choices, with what each choice costs.

A chain has positions (a part of a block each) in the order in which they are computed, one option at each, with costs
per option, and costs of two options that meet. Every cost is additive: milliseconds, the energy of what the logits
lose, bytes. What is not, memory at its peak, is no limit of a chain.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from edgecvx.errors import EdgecvxError

Costs = Mapping[str, float]
"""Quantity (``ms``, ``loss``, ``bytes``) -> how much; what is not named is 0."""
NO_COSTS: Costs = MappingProxyType({})

SLACK = 1e-7
"""Of a limit, relative to the size of what is added up to it: the program's own tolerance is of that size, and what
lies so near a limit is on it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One decision, and what each of its options costs."""

    name: str
    options: Mapping[str, Costs]

    def __post_init__(self) -> None:
        if not self.options:
            raise EdgecvxError(f"{self.name} has no options")


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """One file's positions, and what it costs whatever is chosen."""

    name: str
    positions: tuple[Position, ...]
    base: Costs = field(default_factory=lambda: NO_COSTS)
    neighbours: tuple[Mapping[tuple[str, str], Costs], ...] = ()
    """Between each position and the next: (option here, option there) -> what it costs that the two meet."""
    limits: Costs = field(default_factory=lambda: NO_COSTS)
    """Quantity -> the most it may come to."""

    def __post_init__(self) -> None:
        if self.neighbours and len(self.neighbours) != max(0, len(self.positions) - 1):
            raise EdgecvxError(f"{self.name}: {len(self.positions)} positions have {len(self.neighbours)} borders")

    def border(self, index: int, here: str, there: str) -> Costs:
        """What it costs that an option meets one of the next position."""
        return self.neighbours[index].get((here, there), NO_COSTS) if self.neighbours else NO_COSTS

    def totals(self, choices: Mapping[str, str]) -> dict[str, float]:
        """What a choice of one option at each position comes to."""
        chosen = [choices[position.name] for position in self.positions]
        parts = [self.base, *(p.options[o] for p, o in zip(self.positions, chosen, strict=True))]
        parts += [self.border(i, here, there) for i, (here, there) in enumerate(itertools.pairwise(chosen))]
        return {quantity: sum(part.get(quantity, 0.0) for part in parts) for quantity in self.quantities}

    def keeps(self, totals: Costs) -> bool:
        """Whether a choice that comes to this keeps all limits."""
        return all(totals.get(q, 0.0) <= limit + SLACK * max(1.0, abs(limit)) for q, limit in self.limits.items())

    def limited(self, **limits: float) -> Chain:
        """The same chain with these limits too; the stricter one counts where there are two."""
        stricter = {q: min(limit, self.limits.get(q, math.inf)) for q, limit in limits.items()}
        return replace(self, limits={**self.limits, **stricter})

    def least(self, quantity: str) -> float:
        """The least of one quantity that any choice comes to, whatever the limits: a shortest path."""
        if not self.positions:
            return self.base.get(quantity, 0.0)
        reached = {o: self.base.get(quantity, 0.0) + c.get(quantity, 0.0) for o, c in self.positions[0].options.items()}
        for i, position in enumerate(self.positions[1:]):
            reached = {
                there: costs.get(quantity, 0.0)
                + min(so_far + self.border(i, here, there).get(quantity, 0.0) for here, so_far in reached.items())
                for there, costs in position.options.items()
            }
        return min(reached.values())

    @property
    def quantities(self) -> tuple[str, ...]:
        """All that anything here costs, or that is limited."""
        costs = [self.base, self.limits, *(c for p in self.positions for c in p.options.values())]
        costs += [c for border in self.neighbours for c in border.values()]
        return tuple(dict.fromkeys(quantity for c in costs for quantity in c))


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A chain, an option at each of its positions, and what it comes to."""

    chain: str
    choices: Mapping[str, str]
    totals: Costs = field(default_factory=lambda: NO_COSTS)


def non_dominated(solutions: Iterable[Solution], objective: str, against: str) -> tuple[Solution, ...]:
    """Those that no other beats in one quantity without being worse in the other, in the order of the objective."""
    kept: list[Solution] = []
    for s in sorted(solutions, key=lambda s: (s.totals[objective], s.totals[against])):
        if not kept or s.totals[against] < kept[-1].totals[against]:
            kept.append(s)
    return tuple(kept)
