"""How often the intervals of latencies hold what they say: simulated at length, and on a long measurement cut up.

    python tools/interval_proof.py                         # the tables of docs/latency.md, some minutes
    python tools/interval_proof.py --trace long.json       # a benchmark of hundreds of rounds, in pieces of 20

``tests/results/test_coverage.py`` holds a little of it in every run of the tests.
"""

from __future__ import annotations

import argparse
import functools
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edgecvx.results import statistics
from edgecvx.results.accuracy import Interval

Floats = NDArray[np.float64]
Random = np.random.Generator
Machine = Callable[[Random, int, int], Floats]
"""Turns and runs of each -> their times."""
Rounds = Callable[[Random, int], Floats]
"""Rounds -> the logarithm of the ratio in each."""


def alike(rng: Random, count: int, correlation: float) -> Floats:
    """Normal values of which neighbours correlate so much, and those further apart by its powers."""
    fresh = rng.standard_normal(count) * np.sqrt(1 - correlation**2)
    fresh[0] = rng.standard_normal()
    for i in range(1, count):
        fresh[i] += correlation * fresh[i - 1]
    return np.asarray(fresh)


def busy(rng: Random, count: int, on: float, off: float) -> NDArray[np.bool_]:
    """Whether a neighbour that works ``on`` of a time and rests for ``off`` on average is at work."""
    state, at, found = bool(rng.random() < on / (on + off)), 0, np.zeros(count, np.bool_)
    while at < count:
        length = int(rng.geometric(1 / (on if state else off)))
        found[at : at + length], at, state = state, at + length, not state
    return found


def _noise(rng: Random, turns: int, runs: int, size: float = 0.05) -> Floats:
    return np.exp(size * rng.standard_normal((turns, runs)))


def _alike_turns(correlation: float) -> Machine:
    return lambda rng, turns, runs: np.exp(0.1 * alike(rng, turns, correlation))[:, None] * _noise(rng, turns, runs)


def _alike_runs(correlation: float) -> Machine:
    return lambda rng, turns, runs: np.exp(0.1 * alike(rng, turns * runs, correlation)).reshape(turns, runs)


def _bursts(on: float, off: float) -> Machine:
    def machine(rng: Random, turns: int, runs: int) -> Floats:
        slower = 1 + 0.5 * busy(rng, turns * runs, on, off) * rng.random(turns * runs)
        return slower.reshape(turns, runs) * _noise(rng, turns, runs, 0.02)

    return machine


MACHINES: Mapping[str, Machine] = {
    "runs that share nothing, skewed": lambda rng, turns, runs: _noise(rng, turns, runs, 0.3),
    "tails without a variance": lambda rng, turns, runs: 1 + 0.05 * np.abs(rng.standard_t(2, (turns, runs))),
    "turns share their luck": lambda rng, turns, runs: (
        1 + 0.05 * rng.standard_normal((turns, 1)) + 0.05 * np.abs(rng.standard_t(2, (turns, runs)))
    ),
    "turns share skewed luck": lambda rng, turns, runs: (
        (1 + 0.1 * rng.exponential(size=(turns, 1))) * _noise(rng, turns, runs, 0.02)
    ),
    "runs alike by 0.8": _alike_runs(0.8),
    "turns alike by 0.3": _alike_turns(0.3),
    "turns alike by 0.5": _alike_turns(0.5),
    "busy for 5 runs of 50": _bursts(5, 45),
}
"""Each returns to what it was several times in a measurement of 20 turns."""

ROUNDS: Mapping[str, Rounds] = {
    "rounds that share nothing": lambda rng, n: 0.02 * rng.standard_normal(n),
    "tails without a variance": lambda rng, n: 0.02 * rng.standard_t(2, n),
    "skewed": lambda rng, n: 0.05 * rng.exponential(size=n),
    "every fifth disturbed": lambda rng, n: (
        0.01 * rng.standard_normal(n) + (rng.random(n) < 0.2) * rng.exponential(0.5, n)
    ),
    "alike by 0.3": lambda rng, n: 0.02 * alike(rng, n, 0.3),
    "alike by 0.5": lambda rng, n: 0.02 * alike(rng, n, 0.5),
}


def percentile_intervals(machine: Machine, q: float, times: int, *, turns: int, runs: int) -> Iterator[Interval | None]:
    """What so many measurements on a machine give."""
    rng = np.random.default_rng(3)
    for _ in range(times):
        yield statistics.percentile(list(machine(rng, turns, runs)), q).interval


def true_percentile(machine: Machine, q: float, *, turns: int, runs: int, times: int = 1500) -> float:
    """Of all that a machine does."""
    rng = np.random.default_rng(99)
    return float(np.quantile(np.concatenate([machine(rng, turns, runs).ravel() for _ in range(times)]), q))


def ratio_intervals(rounds: Rounds, count: int, times: int) -> Iterator[Interval | None]:
    """What so many measurements of so many rounds give, as logarithms."""
    rng = np.random.default_rng(1)
    for _ in range(times):
        found = statistics.middle_of_rounds(rounds(rng, count))
        yield found and Interval(low=found[1], high=found[2])


@functools.cache
def true_middle(rounds: Rounds) -> float:
    """The middle of many short rows of rounds."""
    rng = np.random.default_rng(99)
    found = statistics.hodges_lehmann(np.concatenate([rounds(rng, 20) for _ in range(75)]))
    return found[0] if found else float("nan")


def held(intervals: Sequence[Interval | None], truth: float) -> tuple[float, float]:
    """The parts of all measurements that gave an interval, and that gave none that is wrong."""
    given = [i for i in intervals if i is not None]
    wrong = sum(not i.low <= truth <= i.high for i in given)
    return len(given) / len(intervals), 1 - wrong / len(intervals)


def _cell(intervals: Sequence[Interval | None], truth: float) -> str:
    given, right = held(intervals, truth)
    return f"{right:.1%}" if given == 1 else f"{right:.1%} (given in {given:.0%})"


def tables(times: int) -> Iterator[str]:
    """The tables of docs/latency.md."""
    yield "| 20 turns | p50, 10 runs a turn | p50, 40 | p90, 10 | p90, 40 |\n|---|---|---|---|---|"
    for name, machine in MACHINES.items():
        cells = []
        for q, runs in ((0.5, 10), (0.5, 40), (0.9, 10), (0.9, 40)):
            truth = true_percentile(machine, q, turns=20, runs=runs)
            cells.append(_cell(list(percentile_intervals(machine, q, times, turns=20, runs=runs)), truth))
        yield f"| {name} | {' | '.join(cells)} |"
    yield "\n| ratio | 8 rounds | 10 | 15 | 20 | 40 |\n|---|---|---|---|---|---|"
    for name, rounds in ROUNDS.items():
        truth = true_middle(rounds)
        cells = [_cell(list(ratio_intervals(rounds, n, 4 * times)), truth) for n in (8, 10, 15, 20, 40)]
        yield f"| {name} | {' | '.join(cells)} |"


def pieces_of(trace: Path, turns: int) -> Iterator[str]:
    """A measurement of hundreds of rounds: how often pieces of it hold what all of it says."""
    for device in json.loads(trace.read_text(encoding="utf-8"))["devices"]:
        for measured in device["measured"]:
            blocks = [np.array(t["samples_ns"], np.float64) / 1e6 for t in measured["model"] if t["samples_ns"]]
            for q in (0.5, 0.9):
                truth = float(np.quantile(np.concatenate(blocks), q, method="inverted_cdf"))
                cuts = [blocks[i : i + turns] for i in range(0, len(blocks) - turns + 1, turns)]
                found = [statistics.percentile(cut, q).interval for cut in cuts]
                yield f"{measured['id']} p{100 * q:g}: {len(cuts)} pieces of {turns} turns: {_cell(found, truth)}"


def main() -> None:
    """Prints what is asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=1000, help="measurements per cell of a table")
    parser.add_argument("--trace", type=Path, help="a benchmark's JSON with hundreds of rounds")
    parser.add_argument("--turns", type=int, default=20, help="of a piece of the trace")
    asked = parser.parse_args()
    for line in pieces_of(asked.trace, asked.turns) if asked.trace else tables(asked.times):
        print(line, flush=True)


if __name__ == "__main__":
    main()
