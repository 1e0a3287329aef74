"""A machine on which times and answers are planted, for races whose right end is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from edgecvx.tune.race.measured import Answers, Entrant, Timing


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """A file's true figures."""

    ms: float = 10.0
    lost: float = 0.0
    """Part of the pictures that the reference gets right and this file does not."""
    bytes: int = 4_000_000
    peak_bytes: int | None = 60_000_000
    error: str | None = None


@dataclass(slots=True)
class PlantedMachine:
    """Times and answers with chance in them, the same for the same seed."""

    files: Mapping[str, Planted]
    seed: int = 0
    noise: float = 0.01
    """Of a file's own turn."""
    shared: float = 0.0
    """Of the machine, in all files' turns of a round."""
    busy: float = 0.0
    """How many times as long most runs of a turn take, because something else takes the processor; not its fastest."""
    most_pictures: int = 4000
    reference: float = 0.94
    emulated: str | None = None
    rounds: int = 0
    asked: list[tuple[str, str, int]] = field(default_factory=list)

    @property
    def entrants(self) -> list[Entrant]:
        return [Entrant(name=name, bytes=file.bytes) for name, file in self.files.items()]

    def bench(self, names: Sequence[str], rounds: int) -> dict[str, Timing]:
        chance = np.random.default_rng([self.seed, 1, self.rounds])
        together = np.exp(self.shared * chance.standard_normal(rounds))
        found = {}
        for name in names:
            file = self.files[name]
            own = file.ms * together * np.exp(self.noise * chance.standard_normal(rounds))
            least = {self.rounds + i: float(ms) for i, ms in enumerate(own)}
            turns = {r: ms * (1 + self.busy * float(chance.random())) for r, ms in least.items()}
            found[name] = Timing(
                rounds=turns, least=least, peak_bytes=file.peak_bytes, error=file.error, emulated=self.emulated
            )
            self.asked.append(("bench", name, rounds))
        self.rounds += rounds
        return found

    def validate(self, name: str, pictures: int) -> Answers:
        self.asked.append(("validate", name, pictures))
        n = min(pictures, self.most_pictures)
        reference = np.random.default_rng([self.seed, 2]).random(self.most_pictures) < self.reference
        own = np.random.default_rng([self.seed, 3, list(self.files).index(name)]).random(self.most_pictures)
        right = reference & (own >= self.files[name].lost / self.reference)
        right |= ~reference & (own < 0.003)
        return Answers(right=right[:n], reference=reference[:n])
