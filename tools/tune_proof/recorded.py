"""A race on what was measured before: turns and answers of every file, drawn by a seed, through the race's own seam.

So many searches can be tried as nobody has days for. What is drawn is what was measured; nothing is made up.
"""

from __future__ import annotations

import contextlib
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from truth import Truth

from edgecvx.tune.field import Field
from edgecvx.tune.race.measured import Answers, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """Who measures in place of devices."""

    truth: Truth
    pictures: NDArray[np.int64]
    """Those that races may use, in their order."""
    seed: int

    def bench(self, where: Field, names: Sequence[str], rounds: int) -> Mapping[str, Timing]:
        """Turns that files really took, side by side as they were: each beside the same turn of the first file."""
        draw = np.random.default_rng([self.seed, where.rounds])
        first, where.rounds = where.rounds, where.rounds + rounds
        where.facts["local"] = "turns that were recorded"
        timings = self.truth.known.timings
        beside = next(iter(timings.values())).rounds
        levels = draw.choice(list(beside.values()), rounds)
        found = {}
        for name in names:
            timing = timings[self.truth.name(where.candidates[name])]
            turns = draw.choice([r for r in timing.rounds if r in beside], rounds)
            numbered = list(enumerate(zip(turns.tolist(), levels.tolist(), strict=True), first))
            found[name] = Timing(
                rounds={i: level * timing.rounds[r] / beside[r] for i, (r, level) in numbered},
                least={i: level * timing.least[r] / beside[r] for i, (r, level) in numbered},
            )
        return found

    def validate(self, where: Field, name: str, pictures: int) -> Answers:
        """What a file answered."""
        answers, taken = self.truth.known.answers[self.truth.name(where.candidates[name])], self.pictures[:pictures]
        return Answers(right=answers.right[taken], reference=answers.reference[taken])

    @contextlib.contextmanager
    def instead(self) -> Iterator[None]:
        """While this lasts, searches measure nothing."""
        with (
            at_most(len(self.pictures)),
            patch.object(Field, "bench", lambda where, names, rounds: self.bench(where, names, rounds)),
            patch.object(Field, "validate", lambda where, name, pictures: self.validate(where, name, pictures)),
        ):
            yield


@contextlib.contextmanager
def at_most(pictures: int) -> Iterator[None]:
    """While this lasts, races use no more drawn pictures."""
    with patch.object(importlib.import_module("edgecvx.tune.pictures"), "DRAWN", pictures):
        yield
