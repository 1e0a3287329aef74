"""The exact program of stage (d): the fastest choice of options that keeps every additive limit.

A file is a chain: positions (a part of a block each) in the order in which they are computed, one option at each, with
costs per option, and costs of two options that meet. Every cost is additive: milliseconds, the energy of what the
logits lose, bytes. Several chains (models, sizes, targets) compete, each with limits of its own, since what a network
may lose is its own.

``solve_milp`` is the program: a flow through the chain's options, one unit from the first position to the last, whose
arcs carry the costs, and one row for each limit. Without limits such a program is a shortest path and its relaxation
is integral; limits leave little to branch on. ``solve_chain`` comes to the same by other means, labels that are not
dominated, and is held to it in the tests.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError, missing_package

Costs = Mapping[str, float]
"""Quantity (``ms``, ``loss``, ``bytes``) -> how much; what is not named is 0."""
NO_COSTS: Costs = MappingProxyType({})

SLACK = 1e-9
"""Of a limit and of what is spent, relative to their size: sums of thirty floats differ by that, depending on order."""


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
    base: Costs = NO_COSTS
    neighbours: tuple[Mapping[tuple[str, str], Costs], ...] = ()
    """Between each position and the next: (option here, option there) -> what it costs that the two meet."""
    limits: Costs = NO_COSTS
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

    @property
    def quantities(self) -> tuple[str, ...]:
        """All that anything here costs, or that is limited."""
        costs = [self.base, self.limits, *(c for p in self.positions for c in p.options.values())]
        costs += [c for border in self.neighbours for c in border.values()]
        return tuple(dict.fromkeys(quantity for c in costs for quantity in c))


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Chains of which one is chosen, and what is to be least."""

    chains: tuple[Chain, ...]
    objective: str = "ms"


@dataclass(frozen=True, slots=True, kw_only=True)
class Solution:
    """A chain, an option at each of its positions, and what it comes to."""

    chain: str
    choices: Mapping[str, str]
    totals: Costs = field(default_factory=lambda: NO_COSTS)


def solve_milp(problem: Problem) -> Solution | None:
    """The best choice that keeps the limits; None where there is none.

    Raises:
        EdgecvxError: scipy is not installed, or gives up.
    """
    raise NotImplementedError


def solve_chain(chain: Chain, objective: str = "ms") -> Solution | None:
    """The best choice of one chain, by labels that no other dominates; None where no choice keeps the limits."""
    raise NotImplementedError


def front(problem: Problem, *, against: str = "loss", most: int = 16) -> tuple[Solution, ...]:
    """The choices that nothing beats in both, the fastest first.

    Args:
        problem: The chains, with all limits that hold for every point.
        against: What is traded for the objective.
        most: Points at most, spread over the range of ``against``; the two ends are among them.
    """
    raise NotImplementedError
