"""What a race means for whoever ships."""

from __future__ import annotations

from planted import Planted, PlantedMachine

from edgecvx.tune.outcome import ending_of, next_limits
from edgecvx.tune.race.limits import Limits
from edgecvx.tune.race.race import Race, race
from edgecvx.tune.report.values import NextLimit

SIZES = {"160": Planted(ms=4, lost=0.03), "192": Planted(ms=6, lost=0.01), "224": Planted(ms=9)}


def run(limits: Limits) -> tuple[Race, list[NextLimit]]:
    machine = PlantedMachine(SIZES)
    found = race(machine.entrants, limits, machine)
    return found, next_limits(found, ending_of(found.verdict), limits)


def test_the_next_limit_on_time_is_that_of_the_next_better_file() -> None:
    found, (bought,) = run(Limits(max_p50=7.0))
    assert ending_of(found.verdict).file == "192"
    assert (bought.limit, bought.file) == ("max_p50", "224")
    assert 8.5 < bought.value < 9.5
    assert "points of top-1" in bought.sentence


def test_the_next_limit_on_the_loss_is_that_of_the_next_faster_file() -> None:
    _, bought = run(Limits(max_drop=1.5))
    assert [(b.limit, b.file) for b in bought] == [("max_drop", "160")]


def test_a_limit_that_holds_nothing_back_buys_nothing() -> None:
    _, bought = run(Limits(max_p50=20.0))
    assert bought == []


def test_an_impossible_limit_says_where_the_first_file_becomes_possible() -> None:
    found, bought = run(Limits(max_p50=2.0))
    assert ending_of(found.verdict).kind == "impossible"
    assert [(b.limit, b.file) for b in bought] == [("max_p50", "160")]
