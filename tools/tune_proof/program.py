"""The exact program of ``edgecvx tune`` against every choice: 1,000 random chains, by both of its ways.

``make tune-proof`` runs it; ``tests/tune/program`` tries a few.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Sequence

from random_chains import every_choice, random_chain

from edgecvx.tune.program import Problem, front, solve_chain, solve_milp
from edgecvx.tune.program.chain import Solution

NEAR = 1e-6


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--chains", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    draw, began, impossible, points = random.Random(options.seed), time.perf_counter(), 0, 0
    for number in range(options.chains):
        chain = random_chain(draw, f"chain {number}")
        best = min((totals["ms"] for totals in every_choice(chain)), default=None)
        _same(number, best, solve_milp(Problem(chains=(chain,))), solve_chain(chain))
        impossible += best is None
        points += len(front(Problem(chains=(chain,))))
    seconds = time.perf_counter() - began
    print(
        f"{options.chains} chains: the program and the labels found what trying everything found; {impossible} could "
        f"not keep their limits, {points} points of fronts were held to the program; {seconds:.1f} s"
    )


def _same(number: int, best: float | None, *found: Solution | None) -> None:
    for solution in found:
        ours = None if solution is None else solution.totals["ms"]
        if (best is None) != (ours is None) or (best is not None and ours is not None and abs(best - ours) > NEAR):
            raise SystemExit(f"chain {number}: {ours} where trying everything gives {best}")


if __name__ == "__main__":
    main()
