"""A network block by block: which mixtures race."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from edgecvx.spec import Precision
from edgecvx.tune import program, refine
from edgecvx.tune.program.chain import Solution
from edgecvx.tune.space import Candidate

PLAIN = Candidate(model="atto", size=192, target="native", precision=Precision.INT8)
CHOICES = ({"a": "int8", "b": "int8"}, {"a": "int8", "b": "float"})


@pytest.mark.parametrize("usual", CHOICES)
def test_a_mixture_that_is_the_plain_file_does_not_race_beside_it(
    monkeypatch: pytest.MonkeyPatch, usual: dict[str, str]
) -> None:
    monkeypatch.setattr(refine, "chain_of", lambda *_: None)
    monkeypatch.setattr(program, "Problem", lambda **_: None)
    monkeypatch.setattr(program, "front", lambda *_, **__: [Solution(chain="atto", choices=c) for c in CHOICES])
    unused: Any = SimpleNamespace()
    looked_at = refine.Refinement(
        plain=PLAIN, usual=usual, decisions=(), loss=unused, cost=unused, observations=[], files=0
    )
    ((candidate, _),) = looked_at.front(None)
    assert candidate.decisions in CHOICES and candidate.decisions != usual
