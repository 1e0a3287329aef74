"""Milliseconds from whole files: few of them, right where the sum holds, and wide where it or the machine does not."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from edgecvx.errors import EdgecvxError
from edgecvx.models.variants import VARIANTS
from edgecvx.targets import get_target
from edgecvx.tune.model.cost import BASE, CostModel, Observation, design, fit
from edgecvx.tune.space import space

pytest.importorskip("scipy")

NANO = VARIANTS["convnextv2_nano"]
DECISIONS = space(get_target("tflite"), NANO).decisions
Choice = Mapping[str, str]


class Machine:
    """A device whose files take a sum of terms, as the model has it or not, and whose turns spread."""

    def __init__(self, seed: int = 0, *, spread: float = 0.01, own: float = 0.02, borders: bool = True) -> None:
        self._draw, self._spread = np.random.default_rng(seed), spread
        stages = {(d.stage, d.part, o): self._draw.normal(0, 0.4) for d in DECISIONS for o in d.names[:-1]}
        self._gain = {
            (d.name, o): stages[d.stage, d.part, o] + self._draw.normal(0, own) for d in DECISIONS for o in d.names[:-1]
        }
        self._border = 0.15 if borders else 0.0

    def ms(self, choice: Choice) -> float:
        crossed = sum(
            (choice[a.name] == a.exact) != (choice[b.name] == b.exact)
            for a, b in zip(DECISIONS[::2], DECISIONS[1::2], strict=True)
        )
        return 20.0 + sum(self._gain.get(item, 0.0) for item in choice.items()) + crossed * self._border

    def timed(self, choices: list[Choice], rounds: int = 12) -> list[Observation]:
        first = self.ms(choices[0])
        return [
            Observation(
                decisions=c,
                ratios=tuple(self.ms(c) / first * np.exp(self._draw.normal(0, self._spread, rounds))),
            )
            for c in choices
        ]

    def fitted(self, choices: list[Choice]) -> CostModel:
        return fit(DECISIONS, choices[0], self.ms(choices[0]), self.timed(choices))


FILES = list(design(DECISIONS))


def mixtures(count: int, seed: int = 9) -> list[Choice]:
    draw = np.random.default_rng(seed)
    return [{d.name: str(draw.choice(d.names)) for d in DECISIONS} for _ in range(count)]


def width(model: CostModel, choice: Choice) -> float:
    interval = model.predict(choice).interval
    assert interval is not None
    return interval.high - interval.low


def test_a_score_of_files_stand_for_billions() -> None:
    assert len(FILES) <= 24 and space(get_target("tflite"), NANO).count() > 10**9
    assert len({tuple(f.items()) for f in map(dict, FILES)}) == len(FILES)
    assert FILES[0] == {d.name: d.lowest for d in DECISIONS}, "the reference is the first"
    assert len(design(space(get_target("native"), NANO).decisions)) <= 10


def test_files_that_were_not_timed_are_within_their_intervals_and_within_five_percent() -> None:
    inside, errors = [], []
    for seed in range(5):
        machine = Machine(seed)
        model = machine.fitted(FILES)
        for choice in mixtures(10, seed):
            predicted, true = model.predict(choice), machine.ms(choice)
            assert predicted.interval is not None
            inside.append(predicted.interval.low <= true <= predicted.interval.high)
            errors.append(abs(predicted.ms / true - 1))
    assert np.mean(inside) > 0.9 and max(errors) < 0.05


def test_a_model_without_borders_is_off_where_borders_cost() -> None:
    machine, choices = Machine(0, own=0.0, spread=0.001), mixtures(10)
    with_borders = machine.fitted(FILES)
    values = [0.0 if "border" in n else v for n, v in zip(with_borders.names, with_borders.values, strict=True)]
    without = replace(with_borders, values=tuple(values))
    assert all(abs(with_borders.predict(c).ms / machine.ms(c) - 1) < 0.01 for c in choices)
    assert max(abs(without.predict(c).ms / machine.ms(c) - 1) for c in choices) > 0.03


def test_a_noisy_machine_widens_intervals() -> None:
    choice = mixtures(1)[0]
    assert width(Machine(1, spread=0.1).fitted(FILES), choice) > 2 * width(
        Machine(1, spread=0.01).fitted(FILES), choice
    )


def test_a_bad_moment_of_the_reference_is_seen_where_rounds_were_shared() -> None:
    machine, choices = Machine(7, spread=0.003, own=0.0), mixtures(10)
    timed = machine.timed(FILES, rounds=8)
    bad = np.exp(np.random.default_rng(0).normal(0, 0.2, 8))
    hit = [timed[0], *(replace(o, ratios=tuple(np.array(o.ratios) * bad)) for o in timed[1:])]

    def off(observations: list[Observation]) -> float:
        model = fit(DECISIONS, FILES[0], machine.ms(FILES[0]), observations)
        ratios = [model.predict(c).ms / machine.ms(c) for c in choices]
        return float(np.std(ratios)) + model.noise / 20

    shared = [replace(o, rounds=tuple(range(8))) for o in hit]
    assert off(shared) < off(hit) / 2
    with pytest.raises(EdgecvxError, match="8 ratios"):
        replace(timed[1], rounds=(1, 2))


def test_a_sum_that_does_not_hold_widens_them_too() -> None:
    choice = mixtures(1)[0]
    honest, crooked = Machine(2, spread=0.002, own=0.0), Machine(2, spread=0.002, own=0.3)
    assert width(crooked.fitted(FILES), choice) > 2 * width(honest.fitted(FILES), choice)


def test_what_was_measured_in_the_race_mends_the_model_for_files_like_it() -> None:
    machine = Machine(3, spread=0.002, own=0.1)
    model = machine.fitted(FILES)
    raced = max(mixtures(40), key=lambda c: abs(model.predict(c).ms / machine.ms(c) - 1))
    alike = {**raced, DECISIONS[0].name: next(o for o in DECISIONS[0].names if o != raced[DECISIONS[0].name])}
    more = replace(machine.timed([FILES[0], raced])[1], decisions=raced)
    mended = fit(DECISIONS, model.reference, model.reference_ms, [*model.observations, more])

    def off(model: CostModel, choice: Choice) -> float:
        return abs(model.predict(choice).ms / machine.ms(choice) - 1)

    assert off(mended, raced) < off(model, raced) / 2 and off(mended, alike) < off(model, alike)


def test_the_parts_of_a_file_add_up_to_its_time_and_to_the_programs() -> None:
    model, choice = Machine(4).fitted(FILES), mixtures(1)[0]
    parts = model.parts(choice)
    assert sum(parts.values()) == pytest.approx(model.predict(choice).ms) and parts[BASE] == model.base
    program = model.base + sum(model.unary(d, choice[d.name]) for d in DECISIONS)
    program += sum(model.border(a, choice[a.name], b, choice[b.name]) for a, b in itertools.pairwise(DECISIONS))
    assert program == pytest.approx(model.predict(choice).ms)


def test_too_few_files_give_no_intervals_and_none_gives_no_model() -> None:
    machine = Machine(6)
    assert machine.fitted(FILES[:5]).predict(FILES[0]).interval is None
    with pytest.raises(EdgecvxError, match="at least one"):
        fit(DECISIONS, FILES[0], 20.0, [])
    with pytest.raises(EdgecvxError, match="positive"):
        Observation(decisions=FILES[0], ratios=(1.0, math.nan))


def test_a_design_is_the_same_for_the_same_seed() -> None:
    assert design(DECISIONS, seed=1) == design(DECISIONS, seed=1) != design(DECISIONS, seed=2)
    own = {d.name: d.exact for d in DECISIONS}
    assert design(DECISIONS, own)[0] == own
