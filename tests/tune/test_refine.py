"""A network block by block: which mixtures race."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgecvx.quantize.plan import Arithmetic
from edgecvx.spec import Precision
from edgecvx.tune import program, refine, space
from edgecvx.tune.program.chain import Chain, Position, Solution
from edgecvx.tune.space import Candidate

PLAIN = Candidate(model="atto", size=192, target="native", precision=Precision.INT8)
CHOICES = ({"a": "int8", "b": "int8"}, {"a": "int8", "b": "float"})


@pytest.mark.parametrize("usual", CHOICES)
def test_a_mixture_that_is_the_plain_file_does_not_race_beside_it(
    monkeypatch: pytest.MonkeyPatch, usual: dict[str, str]
) -> None:
    monkeypatch.setattr(refine, "chain_of", lambda *_: SimpleNamespace(totals=lambda _: {}))
    monkeypatch.setattr(program, "Problem", lambda **_: None)
    monkeypatch.setattr(program, "front", lambda *_, **__: [Solution(chain="atto", choices=c) for c in CHOICES])
    unused: Any = SimpleNamespace()
    looked_at = refine.Refinement(
        plain=PLAIN, usual=usual, decisions=(), loss=unused, cost=unused, observations=[], sizes=unused, files=0
    )
    ((candidate, _),) = looked_at.front(None)
    assert candidate.decisions in CHOICES and candidate.decisions != usual


def test_a_mixture_that_is_proposed_keeps_the_size_that_a_file_may_have(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("scipy")
    options: dict[str, dict[str, Arithmetic]] = {"int8": {}, "float": {}}
    parts = [space.Decision(name=n, part="mlp", stage=0, block=i, options=options) for i, n in enumerate("ab")]
    costs = {"int8": {"ms": 1.0, "loss": 0.5, "bytes": 1e6}, "float": {"ms": 2.0, "loss": 0.0, "bytes": 4e6}}
    chain = Chain(name="atto", positions=tuple(Position(name=n, options=costs) for n in "ab"))
    monkeypatch.setattr(refine, "chain_of", lambda *_: chain)
    unused: Any = SimpleNamespace()
    looked_at = refine.Refinement(
        plain=PLAIN,
        usual={},
        decisions=tuple(parts),
        loss=unused,
        cost=unused,
        observations=[],
        sizes=unused,
        files=0,
    )
    losses = {mb: {s.totals["loss"] for _, s in looked_at.front(None, mb)} for mb in (None, 8.0, 5.0, 2.0)}
    assert losses == {None: {0.0, 0.5, 1.0}, 8.0: {0.0, 0.5, 1.0}, 5.0: {0.5, 1.0}, 2.0: {1.0}}
