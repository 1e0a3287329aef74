"""Races whose true figures are drawn at random: how often what is shipped keeps its limits, and what it takes to tell.

Every race has files with true times and losses, and limits drawn among them. A race that ships a file which breaks a
limit, or which a file that keeps them beats by more than anybody minds, is wrong; that may be one of twenty.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
from planted import Planted, PlantedMachine  # of tests/samples, on the path of `make tune-proof`

from edgecvx.tune.race.limits import BETTER, FASTER, Limits
from edgecvx.tune.race.race import race
from edgecvx.tune.race.verdict import Decided, Impossible

RACES, SEEDS = 100, 5


def drawn(chance: np.random.Generator, seed: int) -> tuple[PlantedMachine, Limits]:
    """Up to eight files and one or two limits among them."""
    files = {
        f"file {i}": Planted(ms=float(np.exp(chance.uniform(1, 3))), lost=float(np.exp(chance.uniform(-8, -3))))
        for i in range(chance.integers(2, 9))
    }
    machine = PlantedMachine(files, seed=seed, noise=0.02, shared=float(chance.choice([0.0, 0.2])))
    drop = float(np.exp(chance.uniform(-1, 1.2)))
    p50 = float(np.exp(chance.uniform(1.2, 3))) if chance.random() < 0.5 else None
    return machine, Limits(max_drop=drop, max_p50=p50)


def true_drop(machine: PlantedMachine, name: str) -> float:
    """What a file loses of endless pictures: the planted loss, less what it gets right by chance."""
    return machine.files[name].lost - 0.003 * (1 - machine.reference)


def is_wrong(machine: PlantedMachine, limits: Limits, winner: str) -> bool:
    """Whether a shipped file breaks a limit, or is beaten."""
    keeping = {
        name
        for name, file in machine.files.items()
        if true_drop(machine, name) <= (limits.max_drop or 0) / 100
        and (limits.max_p50 is None or file.ms <= limits.max_p50)
    }
    if winner not in keeping:
        return True
    if limits.objective == "fastest":
        return any(machine.files[n].ms < machine.files[winner].ms / (1 + FASTER) for n in keeping)
    return any(true_drop(machine, n) < true_drop(machine, winner) - BETTER for n in keeping)


def main() -> None:
    """Runs all races and prints what came of them."""
    ends: Counter[str] = Counter()
    wrong = 0
    measured = 0
    for seed in range(SEEDS):
        chance = np.random.default_rng(seed)
        for number in range(RACES):
            machine, limits = drawn(chance, seed * RACES + number)
            found = race(machine.entrants, limits, machine)
            ends[found.verdict.kind] += 1
            measured += sum(count for what, _, count in machine.asked if what == "validate")
            if isinstance(found.verdict, Decided):
                wrong += is_wrong(machine, limits, found.verdict.winner)
            elif isinstance(found.verdict, Impossible):
                wrong += any(not is_wrong(machine, limits, name) for name in machine.files)
    claimed = ends["decided"] + ends["impossible"]
    print(f"{SEEDS * RACES} races: {dict(ends)}; {wrong} of {claimed} claims are wrong ({100 * wrong / claimed:.1f}%)")
    if wrong > 0.05 * claimed:
        raise SystemExit("more than one of twenty")


if __name__ == "__main__":
    main()
