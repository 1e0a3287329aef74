"""A chain as a mixed-integer program: one unit flows from the first position to the last.

Its arcs lead from an option to one of the next position and carry the costs of that option and of the border between.
Without limits that is a shortest path, whose relaxation is integral; each limit is one row more and leaves little to
branch on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import EdgecvxError, missing_package
from edgecvx.tune.program.chain import Chain, Costs, Solution

Floats = NDArray[np.float64]

SECONDS = 60.0
"""A chain of thirty positions takes milliseconds: one that takes this long is no chain of a network."""
TRIES = 8
"""How often a limit is made stricter by what a solution was over it."""
_INFEASIBLE = 2


@dataclass(frozen=True, slots=True)
class _Arc:
    """From an option of a position to one of the next; from nowhere to those of the first."""

    position: int
    """The one it leads to."""
    here: str | None
    there: str


def milp_of_chain(chain: Chain, objective: str = "ms") -> Solution | None:
    """The choice of options with the least of the objective that keeps the limits; None where there is none.

    Raises:
        EdgecvxError: scipy is not installed, or gives up.
    """
    tightened = chain
    for _ in range(TRIES):
        found = _solve(tightened, objective)
        if found is None or chain.keeps(found.totals):
            return found
        # The solver keeps a row within its own tolerance, which is larger than ours.
        over = {q: found.totals[q] - limit for q, limit in chain.limits.items()}
        now = {q: tightened.limits[q] - 2 * max(0.0, beyond) for q, beyond in over.items()}
        tightened = replace(tightened, limits=now)
    raise EdgecvxError(f"{chain.name}: the program cannot be held to its limits, which are too near each other")


def _solve(chain: Chain, objective: str) -> Solution | None:
    if not chain.positions:
        totals = chain.totals({})
        return Solution(chain=chain.name, choices={}, totals=totals) if chain.keeps(totals) else None
    arcs = _arcs(chain)
    chosen = _flow(chain, arcs, objective)
    if chosen is None:
        return None
    choices = {chain.positions[arc.position].name: arc.there for arc, on in zip(arcs, chosen, strict=True) if on}
    return Solution(chain=chain.name, choices=choices, totals=chain.totals(choices))


def _flow(chain: Chain, arcs: list[_Arc], objective: str) -> NDArray[np.bool_] | None:
    """Which arcs the unit flows through."""
    try:
        from scipy.optimize import Bounds, LinearConstraint, milp
    except ModuleNotFoundError as error:
        raise missing_package("scipy, which solves for the best choice,", "tune") from error
    matrix, right = _conservation(chain, arcs)
    constraints = [LinearConstraint(matrix, right, right)]
    for quantity, limit in chain.limits.items():
        row = _costs(chain, arcs, quantity)
        room = limit - chain.base.get(quantity, 0.0)
        size = max(abs(room), float(np.abs(row).max()), 1e-300)
        constraints.append(LinearConstraint(row[None, :] / size, -np.inf, room / size))
    goal = _costs(chain, arcs, objective)
    result: Any = milp(
        goal / max(float(np.abs(goal).max()), 1e-300),
        integrality=np.ones(len(arcs)),
        bounds=Bounds(0, 1),
        constraints=constraints,
        options={"mip_rel_gap": 0.0, "time_limit": SECONDS},
    )
    if result.status == _INFEASIBLE:
        return None
    if result.x is None or not result.success:
        raise EdgecvxError(f"{chain.name}: the program was not solved ({result.message})")
    return np.asarray(result.x > 0.5)


def _arcs(chain: Chain) -> list[_Arc]:
    arcs = [_Arc(0, None, there) for there in chain.positions[0].options]
    for index, position in enumerate(chain.positions[1:], 1):
        arcs += [_Arc(index, here, there) for here in chain.positions[index - 1].options for there in position.options]
    return arcs


def _conservation(chain: Chain, arcs: list[_Arc]) -> tuple[Any, Floats]:
    """One unit begins, and what flows to an option flows on from it."""
    from scipy.sparse import csr_array

    nodes = {(i, option): 1 + n for n, (i, option) in enumerate(_nodes(chain))}
    rows, columns, values = list[int](), list[int](), list[float]()

    def entry(row: int, column: int, value: float) -> None:
        rows.append(row)
        columns.append(column)
        values.append(value)

    for column, arc in enumerate(arcs):
        if arc.here is None:
            entry(0, column, 1.0)
        else:
            entry(nodes[arc.position - 1, arc.here], column, -1.0)
        if arc.position < len(chain.positions) - 1:
            entry(nodes[arc.position, arc.there], column, 1.0)
    right = np.zeros(1 + len(nodes))
    right[0] = 1.0
    return csr_array((values, (rows, columns)), shape=(len(right), len(arcs))), right


def _nodes(chain: Chain) -> list[tuple[int, str]]:
    """Options that something flows on from: all but those of the last position."""
    return [(i, option) for i, position in enumerate(chain.positions[:-1]) for option in position.options]


def _costs(chain: Chain, arcs: list[_Arc], quantity: str) -> Floats:
    return np.array([_cost(chain, arc).get(quantity, 0.0) for arc in arcs])


def _cost(chain: Chain, arc: _Arc) -> Costs:
    costs = chain.positions[arc.position].options[arc.there]
    if arc.here is None:
        return costs
    return _sum(costs, chain.border(arc.position - 1, arc.here, arc.there))


def _sum(first: Costs, second: Costs) -> Mapping[str, float]:
    return {q: first.get(q, 0.0) + second.get(q, 0.0) for q in (*first, *second)}
