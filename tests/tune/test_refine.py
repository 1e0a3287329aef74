"""A network block by block: which mixtures race."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecvx.quantize.plan import Arithmetic
from edgecvx.spec import Precision
from edgecvx.tune import program, refine, space
from edgecvx.tune.model.cost import CostModel, Observation, fit
from edgecvx.tune.model.tries import Tried
from edgecvx.tune.program.chain import Chain, Position, Solution
from edgecvx.tune.race.measured import Entrant, Standing
from edgecvx.tune.space import Candidate, Decision

PLAIN = Candidate(model="atto", size=192, target="native", precision=Precision.INT8)
CHOICES = ({"a": "int8", "b": "int8"}, {"a": "int8", "b": "float"})
NAMES = [f"stages.0.blocks.{i}.mlp" for i in range(6)]
EXACT = dict.fromkeys(NAMES, "float")


def looked_at(**parts: Any) -> refine.Refinement:
    """A refinement of nothing but what a test is about."""
    unused: Any = SimpleNamespace()
    nothing = dict.fromkeys(("loss", "cost", "tries", "sizes"), unused)
    everything = {**nothing, "usual": {}, "decisions": (), "observations": []}
    return refine.Refinement(plain=PLAIN, files=0, **{**everything, **parts})


@pytest.mark.parametrize("usual", CHOICES)
def test_a_mixture_that_is_the_plain_file_does_not_race_beside_it(
    monkeypatch: pytest.MonkeyPatch, usual: dict[str, str]
) -> None:
    monkeypatch.setattr(refine, "chain_of", lambda *_: None)
    monkeypatch.setattr(program, "Problem", lambda **_: None)
    found = [Solution(chain="atto", choices=c, totals={"ms": 1.0}) for c in CHOICES]
    monkeypatch.setattr(program, "front", lambda *_, **__: found)
    tries = SimpleNamespace(of=lambda choices: Tried(energy=1.0, drop=0.0))
    ((candidate, ms, _),) = looked_at(usual=usual, tries=tries).front(None)
    assert candidate.decisions in CHOICES and candidate.decisions != usual
    assert ms == 1.0


def test_what_mixtures_lose_is_measured_anew_where_other_answers_are_right(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    values = pytest.importorskip("edgecvx.graph.values")
    monkeypatch.setattr(values, "spec_of", lambda _: None)
    monkeypatch.setattr(refine, "Pieces", lambda *_: None)
    monkeypatch.setattr(refine, "sensitivity", lambda *_, **__: Tried(energy=1.0, drop=0.0))
    graph: Any = SimpleNamespace(graph=SimpleNamespace(inputs=[None]))

    def place(label: int) -> Path | None:
        samples = [SimpleNamespace(sha256="ab" * 32, label=label)]
        pictures = SimpleNamespace(search=samples, inputs=lambda *_: ([], samples))
        workshop = SimpleNamespace(work=tmp_path, models={"atto": None}, key=lambda _: "a file")
        where: Any = SimpleNamespace(workshop=workshop, pictures=pictures)
        return refine._loss(where, PLAIN, graph, None, (), lambda _: None)[1].place  # type: ignore[arg-type]

    assert place(0) == place(0) != place(1)


def test_a_mixture_that_is_proposed_keeps_the_size_that_a_file_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    options: dict[str, dict[str, Arithmetic]] = {"int8": {}, "float": {}}
    parts = [space.Decision(name=n, part="mlp", stage=0, block=i, options=options) for i, n in enumerate("ab")]
    costs = {"int8": {"ms": 1.0, "loss": 0.5, "bytes": 1e6}, "float": {"ms": 2.0, "loss": 0.0, "bytes": 4e6}}
    chain = Chain(name="atto", positions=tuple(Position(name=n, options=costs) for n in "ab"))
    monkeypatch.setattr(refine, "chain_of", lambda *_: chain)
    tries = SimpleNamespace(of=lambda choices: Tried(energy=0.0, drop=chain.totals(choices)["loss"]))
    mixed = looked_at(decisions=tuple(parts), tries=tries)
    losses = {mb: {tried.drop for _, _, tried in mixed.front(None, mb)} for mb in (None, 8.0, 5.0, 2.0)}
    assert losses == {None: {0.0, 0.5, 1.0}, 8.0: {0.0, 0.5, 1.0}, 5.0: {0.5, 1.0}, 2.0: {1.0}}


# How much may be lost.


def a_chain(*_: object) -> Chain:
    """Six decisions that gain a millisecond each, and cost an energy of 1, 2, 4, …"""
    options = [{"int8": {"loss": 2.0**i}, "float": {"ms": 1.0}} for i in range(6)]
    return Chain(name="atto", positions=tuple(Position(name=n, options=o) for n, o in zip(NAMES, options, strict=True)))


def lost(choices: Mapping[str, str], worse: float) -> float:
    """Points that a mixture loses: its energy as it adds up, times as much as was predicted of it."""
    return worse * 0.01 * a_chain().totals(choices)["loss"]


@pytest.mark.parametrize("worse", [0.2, 1.0, 10.0, 40.0])
def test_mixtures_lose_what_they_may_when_they_are_run_whatever_was_predicted(
    monkeypatch: pytest.MonkeyPatch, worse: float
) -> None:
    monkeypatch.setattr(refine, "chain_of", a_chain)
    room, tried = 0.5, list[Mapping[str, str]]()

    def of(choices: Mapping[str, str]) -> Tried:
        tried.append(choices)
        return Tried(energy=1.0, drop=lost(choices, worse))

    loss = SimpleNamespace(allowed=lambda points: points / 0.01)
    found = looked_at(loss=loss, tries=SimpleNamespace(of=of)).front(room)
    fastest = max(found, key=lambda f: f[2].drop)
    assert fastest[2].drop <= room
    # One more of the cheapest that is left would be too much.
    left = [i for i, name in enumerate(NAMES) if fastest[0].decisions[name] == "float"]
    assert all(lost({**fastest[0].decisions, NAMES[i]: "int8"}, worse) > room for i in left)
    assert len(tried) <= refine.TRIES + refine.POINTS


def test_by_the_prediction_alone_too_much_would_be_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: nobody runs the mixtures."""
    monkeypatch.setattr(refine, "chain_of", a_chain)
    loss = SimpleNamespace(allowed=lambda points: points / 0.01)
    unseen = SimpleNamespace(of=lambda choices: Tried(energy=1.0, drop=0.01 * a_chain().totals(choices)["loss"]))
    found = looked_at(loss=loss, tries=unseen).front(0.5)
    assert max(lost(c.decisions, 10.0) for c, _, _ in found) > 0.5


# What was measured mends what is predicted.

DECISIONS = tuple(
    Decision(name=name, part="mlp", stage=0, block=i, options={"int8": {}, "float": {}}) for i, name in enumerate(NAMES)
)


def a_cost() -> CostModel:
    """A millisecond for each float, on top of ten."""
    pytest.importorskip("scipy")
    files = [{**EXACT, **dict.fromkeys(NAMES[:count], "int8")} for count in range(7)]
    seen = [Observation(decisions=f, ratios=tuple([(16 - i) / 16] * 8)) for i, f in enumerate(files)]
    return fit(DECISIONS, EXACT, 16.0, seen)


def standing(name: str, ms: float) -> Standing:
    return Standing(entrant=Entrant(name=name, bytes=1), rounds=dict.fromkeys(range(10), ms))


def test_a_file_of_another_target_tells_nothing_of_these_blocks() -> None:
    """It was taken for the file that all ratios are to, and every prediction went with it."""
    mixed = looked_at(cost=a_cost(), decisions=DECISIONS)
    mixed.raced = {"mixed 1": mixed.candidate({**EXACT, NAMES[0]: "int8"}), "mixed 2": mixed.candidate(EXACT)}
    assert not mixed.mend([standing("a tflite file", 3.0), standing("mixed 1", 15.0), standing("mixed 2", 16.0)])
    assert mixed.level == pytest.approx(1.0, abs=0.02)


def test_a_mixture_that_is_slower_beside_another_is_believed_and_a_slower_day_is_no_fault_of_the_model() -> None:
    mixed = looked_at(cost=a_cost(), decisions=DECISIONS)
    half = {**EXACT, **dict.fromkeys(NAMES[:3], "int8")}
    mixed.raced = {"mixed 1": mixed.candidate(EXACT), "mixed 2": mixed.candidate(half)}
    assert not mixed.mend([standing("mixed 1", 32.0), standing("mixed 2", 26.0)])
    assert mixed.level == pytest.approx(2.0, rel=0.02)
    assert mixed.mend([standing("mixed 1", 32.0), standing("mixed 2", 40.0)])


def test_a_candidate_is_of_a_refinement_by_network_target_and_threads_alone() -> None:
    mixed = looked_at()
    assert mixed.is_of(mixed.candidate(EXACT)) and mixed.is_of(PLAIN)
    others = (
        Candidate(model="femto", size=192, target="native", precision=Precision.INT8),
        Candidate(model="atto", size=192, target="onnx", precision=Precision.INT8),
        Candidate(model="atto", size=192, target="native", precision=Precision.INT8, threads=2),
    )
    assert not any(map(mixed.is_of, others))
