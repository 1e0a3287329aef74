"""What tests show of ``tune`` with little, at length: ``parts.py [PART…]``.

``program`` and ``races`` take two minutes and are run where nothing is said. ``enumerate`` and ``times`` measure all
files of a reduced space, ``search`` holds what ``tune`` finds of it to that, and ``seeds`` what it claims under limits
drawn at random. ``times`` is apart because nothing else should run meanwhile; all go on where they were stopped.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in (".", "tests/samples")]

import counting  # noqa: E402 (after the path is set)
import enumeration  # noqa: E402
import program  # noqa: E402
import races  # noqa: E402
import search  # noqa: E402
import seeds  # noqa: E402
from reduced import SIZES, TARGETS, Reduced  # noqa: E402
from truth import Truth  # noqa: E402

SEARCHED_WITH = 31
"""The seed of the search whose front is held to everything."""


def prove_enumerate(asked: argparse.Namespace) -> None:
    """Writes all files, and runs pictures through them."""
    with _space(asked).alone(), counting.drawn_once():
        where = enumeration.opened(_space(asked), asked.folder)
        enumeration.write_all(where)
        enumeration.validate_all(where, asked.pictures, asked.only or where.workshop.request.sizes)


def prove_times(asked: argparse.Namespace) -> None:
    """Has all files take their turns."""
    with _space(asked).alone():
        enumeration.time_all(enumeration.opened(_space(asked), asked.folder), asked.turns)


def prove_search(asked: argparse.Namespace) -> None:
    """One search without limits."""
    found = search.search(_space(asked), asked.folder / "searched", seed=SEARCHED_WITH, budget=asked.budget)
    truth = Truth(known=enumeration.known(asked.folder))
    front = [truth.name(candidate) for candidate in found.front]
    print(f"{len(truth.names)} files, {truth.pictures} pictures; {found.raced} raced", flush=True)
    print("\n".join([*search.table(front, truth), "", *search.shares(found.counts, truth)]), flush=True)
    if wrong := search.faults(front, truth):
        raise SystemExit("; ".join(wrong))
    print("nothing of the front is certainly beaten, and no file certainly offers what none of it does")


def prove_seeds(asked: argparse.Namespace) -> None:
    """Runs with limits drawn at random; the first of some seeds really."""
    truth, outcomes = Truth(known=enumeration.known(asked.folder)), list[seeds.Outcome]()
    print(seeds.HEAD, flush=True)
    with counting.drawn_once():
        where = enumeration.opened(_space(asked), asked.folder, enumeration.HELD_OUT)
        held = seeds.HeldOut(where=where, pictures=asked.held_out)
        for seed, number in itertools.product(range(1, asked.seeds + 1), range(asked.runs)):
            real = number == 0 and seed <= asked.real
            drawn = seeds.drawn(truth, seed, number)
            outcomes.append(seeds.run(_space(asked), drawn, truth, held, real=real, budget=asked.budget))
            print(seeds.line(outcomes[-1], real=real), flush=True)
    print(seeds.summary(outcomes), flush=True)
    if sum(o.wrong is not None for o in outcomes) > 0.05 * len(outcomes):
        raise SystemExit("more than one of twenty")


PARTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "program": lambda _: program.main([]),
    "races": lambda _: races.main(),
    "enumerate": prove_enumerate,
    "times": prove_times,
    "search": prove_search,
    "seeds": prove_seeds,
}


def _space(asked: argparse.Namespace) -> Reduced:
    return Reduced(sizes=tuple(asked.sizes), targets=tuple(asked.targets))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--folder", type=Path, default=ROOT / "build" / "tune-proof")
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES)
    parser.add_argument("--targets", nargs="+", default=TARGETS)
    parser.add_argument("--only", type=int, nargs="+", default=[], help="of the sizes, those to validate now")
    parser.add_argument("--pictures", type=int, default=1500)
    parser.add_argument("--held-out", type=int, default=3000, help="pictures that winners are judged by")
    parser.add_argument("--turns", type=int, default=40)
    parser.add_argument("--budget", type=float, default=60.0, help="minutes of a search")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--runs", type=int, default=4, help="of each seed")
    parser.add_argument("--real", type=int, default=3, help="seeds whose first run measures by itself")
    asked = parser.parse_args(arguments)
    if unknown := [part for part in asked.parts if part not in PARTS]:
        parser.error(f"no part is named {unknown[0]}: there are {', '.join(PARTS)}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    os.environ["EDGECVX_CACHE"] = str(asked.folder / "cache")  # what a user's cache has says nothing of what it takes
    for part in asked.parts or ("program", "races"):
        print(f"{part}:", flush=True)
        PARTS[part](asked)


if __name__ == "__main__":
    main()
