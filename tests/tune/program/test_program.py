"""The exact program: both of its ways come to what trying everything comes to, and the front is whole."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from random_chains import every_choice, random_chain

from edgecvx.errors import EdgecvxError
from edgecvx.tune import program
from edgecvx.tune.program import Problem, front, solve_chain, solve_milp
from edgecvx.tune.program.chain import Chain, Position, Solution
from edgecvx.tune.program.labels import front_of_chain

pytest.importorskip("scipy")


def best(chain: Chain) -> float | None:
    return min((totals["ms"] for totals in every_choice(chain)), default=None)


def ms(solution: Solution | None) -> float | None:
    return None if solution is None else solution.totals["ms"]


def test_both_ways_find_what_trying_everything_finds() -> None:
    draw, impossible = random.Random(0), 0
    for number in range(60):
        chain = random_chain(draw)
        wanted = best(chain)
        assert ms(solve_milp(Problem(chains=(chain,)))) == pytest.approx(wanted), number
        assert ms(solve_chain(chain)) == pytest.approx(wanted), number
        impossible += wanted is None
    assert 0 < impossible < 30, "some limits cannot be kept, and most can"


def test_a_program_that_leaves_borders_out_is_another_one() -> None:
    draw = random.Random(0)
    chains = [random_chain(draw) for _ in range(30)]
    blind = [ms(solve_chain(replace(chain, neighbours=()))) for chain in chains]
    assert sum(b != pytest.approx(best(c)) for b, c in zip(blind, chains, strict=True)) > 15


def test_the_front_is_what_no_choice_beats() -> None:
    draw = random.Random(1)
    for _ in range(15):
        chain = replace(random_chain(draw), limits={})
        everything = [(t["ms"], t["loss"]) for t in every_choice(chain)]
        found = [(s.totals["ms"], s.totals["loss"]) for s in front_of_chain(chain)]
        wanted = sorted(a for a in everything if not any(b[0] <= a[0] and b[1] <= a[1] and b != a for b in everything))
        assert found == [pytest.approx(point) for point in wanted]


def chain_of(name: str, ms: tuple[float, float], loss: tuple[float, float], positions: int) -> Chain:
    options = {"int8": {"ms": ms[0], "loss": loss[0]}, "float": {"ms": ms[1], "loss": loss[1]}}
    return Chain(name=name, positions=tuple(Position(name=f"p{i}", options=options) for i in range(positions)))


def test_several_networks_compete_and_each_keeps_its_own_limit() -> None:
    small, large = chain_of("small", (1, 2), (3, 1), 3), chain_of("large", (2, 4), (1, 0), 3)
    problem = Problem(chains=(large, small))
    found = solve_milp(problem)
    assert found is not None and found.chain == "small" and found.totals["ms"] == 3
    strict = Problem(chains=(large, small.limited(loss=2)))
    found = solve_milp(strict)
    assert found is not None and found.chain == "large", "small cannot lose as little as it may"
    assert {s.chain for s in front(problem)} == {"small", "large"}
    assert solve_milp(Problem(chains=(small.limited(loss=2),))) is None


def test_a_front_with_more_points_than_asked_for_keeps_its_ends() -> None:
    chain = Chain(
        name="long",
        positions=tuple(
            Position(name=f"p{i}", options={"int8": {"ms": 1.0, "loss": 1.1**i}, "float": {"ms": 2.0 + 0.01 * i}})
            for i in range(6)
        ),
    )
    whole, few = front(Problem(chains=(chain,)), most=10_000), front(Problem(chains=(chain,)), most=5)
    assert len(whole) > len(few) == 5 and (few[0], few[-1]) == (whole[0], whole[-1])
    assert all(point in whole for point in few)


def test_a_point_that_the_other_program_does_not_confirm_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    chain = replace(random_chain(random.Random(3)), limits={})
    assert front(Problem(chains=(chain,)))

    def without_borders(chain: Chain, objective: str, against: str) -> tuple[Solution, ...]:
        return front_of_chain(replace(chain, neighbours=()), objective, against)

    monkeypatch.setattr(program, "front_of_chain", without_borders)
    with pytest.raises(EdgecvxError, match="two programs disagree"):
        front(Problem(chains=(chain,)))


def test_thirty_positions_with_three_limits_are_solved_to_the_end() -> None:
    draw = random.Random(5)
    positions = tuple(
        Position(
            name=f"p{i}",
            options={
                f"o{k}": {"ms": draw.random(), "loss": draw.random(), "bytes": draw.choice((1.0, 2.0, 4.0))}
                for k in range(3)
            },
        )
        for i in range(30)
    )
    chain = Chain(name="nano", positions=positions)
    chain = chain.limited(**{q: 1.5 * chain.least(q) + 1 for q in ("loss", "bytes")})
    found = solve_milp(Problem(chains=(chain,)))
    assert found is not None and chain.keeps(found.totals) and len(found.choices) == 30
    assert found.totals["ms"] > chain.least("ms"), "the limits bind"
