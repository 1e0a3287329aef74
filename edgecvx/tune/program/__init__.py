"""Stage (d), the exact program: the fastest choice of options that keeps every additive limit, and the whole front.

Several chains compete (models, sizes, targets), each with limits of its own, since what a network may lose is its own.
``milp`` solves one by a mixed-integer program, ``labels`` by a dynamic program that comes to the whole front at once.
Both are exact and know nothing of each other: what one finds is held to the other before it is used.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from edgecvx.errors import EdgecvxError
from edgecvx.tune.program.chain import SLACK, Chain, Solution, non_dominated
from edgecvx.tune.program.labels import front_of_chain, solve_chain
from edgecvx.tune.program.milp import milp_of_chain

__all__ = ["Problem", "front", "solve_chain", "solve_milp"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Chains of which one is chosen, and what is to be least."""

    chains: tuple[Chain, ...]
    objective: str = "ms"

    def __post_init__(self) -> None:
        names = [chain.name for chain in self.chains]
        if len(set(names)) < len(names):
            raise EdgecvxError("two chains of a problem have one name")


def solve_milp(problem: Problem) -> Solution | None:
    """The best choice that keeps the limits; None where there is none.

    Chains are solved one by one, those first that might be best, until none that is left could be better.

    Raises:
        EdgecvxError: scipy is not installed, or gives up.
    """
    best: Solution | None = None
    least = {chain.name: chain.least(problem.objective) for chain in problem.chains}
    for chain in sorted(problem.chains, key=lambda chain: (least[chain.name], chain.name)):
        if best is not None and least[chain.name] >= best.totals[problem.objective]:
            break
        found = milp_of_chain(chain, problem.objective)
        if found is not None and (best is None or found.totals[problem.objective] < best.totals[problem.objective]):
            best = found
    return best


def front(problem: Problem, *, against: str = "loss", most: int = 16) -> tuple[Solution, ...]:
    """The choices that nothing beats in both, the best in the objective first.

    Args:
        problem: The chains, with all limits that hold for every point.
        against: What is traded for the objective.
        most: Points at most; the two ends are among them, the others where gaps are widest.

    Raises:
        EdgecvxError: The two programs do not come to the same.
    """
    whole = [s for chain in problem.chains for s in front_of_chain(chain, problem.objective, against)]
    points = _spread(non_dominated(whole, problem.objective, against), (problem.objective, against), most)
    chains = {chain.name: chain for chain in problem.chains}
    for point in points:
        _check(point, chains[point.chain], problem.objective, against)
    return points


def _check(point: Solution, chain: Chain, objective: str, against: str) -> None:
    """Holds a point to the other program: within what it loses, nothing is better."""
    found = milp_of_chain(chain.limited(**{against: point.totals[against]}), objective)
    ours = point.totals[objective]
    if found is None or abs(found.totals[objective] - ours) > 10 * SLACK * max(1.0, abs(ours)):
        theirs = "nothing" if found is None else f"{found.totals[objective]:.9g}"
        raise EdgecvxError(f"{chain.name}: two programs disagree ({ours:.9g}, {theirs}): this is a bug")


def _spread(points: Sequence[Solution], quantities: tuple[str, str], most: int) -> tuple[Solution, ...]:
    """The ends, and of what is between as many as asked for, so that no gap is wide."""
    if len(points) <= most:
        return tuple(points)
    first, last = points[0], points[-1]
    widths = {q: abs(last.totals[q] - first.totals[q]) for q in quantities}

    def gap(a: int, b: int) -> float:
        return sum(abs(points[a].totals[q] - points[b].totals[q]) / widths[q] for q in quantities)

    kept = [0, len(points) - 1][:most]
    while len(kept) < most:
        low, high = max(((a, b) for a, b in itertools.pairwise(kept) if b - a > 1), key=lambda ab: gap(*ab))
        kept = sorted([*kept, min(range(low + 1, high), key=lambda i: abs(gap(low, i) - gap(i, high)))])
    return tuple(points[i] for i in kept)
