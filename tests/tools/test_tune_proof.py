"""What ``make tune-proof`` holds ``tune`` to, where the truth is planted: it finds faults, and only where some are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import search
import seeds
from enumeration import Known
from recorded import Recorded
from reduced import Reduced
from truth import Truth

from edgecvx.models.variants import VARIANTS
from edgecvx.spec import Precision
from edgecvx.targets import get_target
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.race.measured import Answers, Entrant, Timing
from edgecvx.tune.race.race import race
from edgecvx.tune.race.verdict import Decided
from edgecvx.tune.report.values import Ending
from edgecvx.tune.space import Candidate, space

PICTURES = 4000
PLANTED = {160: (2.0, 0.04), 192: (3.0, 0.012), 224: (4.0, 0.002), 256: (5.0, 0.002)}
"""Size -> milliseconds, and the part of the pictures that is lost."""


def known(planted: Mapping[int, tuple[float, float]] = PLANTED, seed: int = 0) -> Known:
    """Files whose figures are planted, with chance in them."""
    draw = np.random.default_rng(seed)
    reference = draw.random(PICTURES) < 0.95
    candidates = {
        str(size): Candidate(model="atto", size=size, target="native", precision=Precision.INT8) for size in planted
    }
    timings, answers = {}, {}
    for name, (ms, lost) in zip(candidates, planted.values(), strict=True):
        turns = {i: float(ms * np.exp(0.01 * draw.standard_normal())) for i in range(40)}
        timings[name] = Timing(rounds=turns, least=turns)
        answers[name] = Answers(right=reference & (draw.random(PICTURES) >= lost), reference=reference)
    sizes = {name: 10_000 * int(name) for name in candidates}
    return Known(candidates=candidates, same={}, bytes=sizes, timings=timings, answers=answers)


@pytest.fixture(scope="module")
def truth() -> Truth:
    return Truth(known=known())


def test_a_front_that_offers_all_there_is_has_no_faults(truth: Truth) -> None:
    assert search.faults(["160", "192", "224"], truth) == []


def test_a_front_that_lacks_what_only_one_file_offers_is_found_out(truth: Truth) -> None:
    (fault,) = search.faults(["160", "224"], truth)
    assert fault.startswith("192 is missing")


def test_a_file_that_something_certainly_beats_in_both_has_no_place_on_a_front(truth: Truth) -> None:
    worse = Truth(known=known({**PLANTED, 288: (6.0, 0.03)}))
    (fault,) = search.faults(["160", "192", "224", "288"], worse)
    assert fault.startswith("288 is on the front")


def test_which_of_two_files_that_no_interval_tells_apart_is_on_the_front_is_no_fault() -> None:
    twins = Truth(known=known({192: (3.0, 0.002), 224: (3.01, 0.002)}))
    assert search.faults(["192"], twins) == search.faults(["224"], twins) == []


@pytest.mark.parametrize(
    ("file", "limits", "wrong"),
    [
        ("192", Limits(max_drop=2), None),
        ("160", Limits(max_drop=2), "it breaks at most 2 points of top-1 lost"),
        ("224", Limits(max_drop=2), "192 is better"),
        ("256", Limits(max_p50=4.5), "it breaks p50 of at most 4.5 ms"),
        ("192", Limits(max_p50=4.5), "224 is better"),
        ("224", Limits(max_p50=4.5), None),
        ("224", Limits(max_drop=1, max_mb=2), "it breaks a file of at most 2 MB"),
    ],
)
def test_a_claim_is_wrong_where_no_value_of_an_interval_makes_it_right(
    truth: Truth, file: str, limits: Limits, wrong: str | None
) -> None:
    decided = Ending(kind="decided", sentence="", file=file)
    assert seeds.fault(decided, file, truth, limits) == wrong


def test_impossible_is_wrong_where_a_file_certainly_keeps_all_limits_and_undecided_claims_nothing(truth: Truth) -> None:
    impossible, undecided = (Ending(kind=kind, sentence="", file="160") for kind in ("impossible", "undecided"))
    assert seeds.fault(impossible, "160", truth, Limits(max_drop=2)) == "192 keeps all limits"
    assert seeds.fault(impossible, "160", truth, Limits(max_p50=1)) is None
    assert seeds.fault(undecided, "160", truth, Limits(max_drop=2)) is None


@dataclass
class Measurer:
    """A race's, on what was recorded."""

    recorded: Recorded
    where: Any

    @property
    def most_pictures(self) -> int:
        return len(self.recorded.pictures)

    def bench(self, names: Sequence[str], rounds: int) -> Mapping[str, Timing]:
        return self.recorded.bench(self.where, names, rounds)

    def validate(self, name: str, pictures: int) -> Answers:
        return self.recorded.validate(self.where, name, pictures)


def test_of_twenty_races_on_a_part_of_the_pictures_at_most_one_is_wrong_by_the_others(truth: Truth) -> None:
    wrong = 0
    for number in range(20):
        asked = seeds.drawn(truth, number, number)
        racing = np.random.default_rng(number).permutation(PICTURES)[:1000]
        recorded = Recorded(truth=truth, pictures=racing, seed=number)
        where = SimpleNamespace(candidates=truth.known.candidates, rounds=0, facts={})
        entrants = [Entrant(name=name, bytes=size) for name, size in truth.known.bytes.items()]
        verdict = race(entrants, asked.limits, Measurer(recorded, where)).verdict
        file = verdict.winner if isinstance(verdict, Decided) else None
        judged = truth.on(np.setdiff1d(np.arange(PICTURES), racing))
        ending = Ending(kind=verdict.kind, sentence=verdict.sentence, file=file)
        wrong += seeds.fault(ending, file, judged, asked.limits) is not None
    assert wrong <= 1


def test_recorded_turns_lie_side_by_side_as_they_did(truth: Truth) -> None:
    recorded = Recorded(truth=truth, pictures=np.arange(10), seed=3)
    where: Any = SimpleNamespace(candidates=truth.known.candidates, rounds=0, facts={})
    first, second = recorded.bench(where, ["160", "224"], 20), recorded.bench(where, ["160", "224"], 20)
    assert not first["160"].rounds.keys() & second["160"].rounds.keys()
    ratios = [first["224"].rounds[r] / ms for r, ms in first["160"].rounds.items()]
    assert np.median(ratios) == pytest.approx(2.0, rel=0.02)


def test_a_reduced_space_leaves_the_decisions_it_names_and_only_while_it_lasts() -> None:
    target, arch = get_target("native"), VARIANTS["convnextv2_atto"]
    whole = space(target, arch).decisions
    with Reduced().alone():
        assert [d.name for d in space(target, arch).decisions] == list(Reduced().decided)
    assert space(target, arch).decisions == whole
