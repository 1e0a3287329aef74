"""Who is right in FP32 is computed once, and a picture that cannot be decoded stops no search that goes on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from edgecvx.data.dataset import Sample
from edgecvx.errors import UsageError
from edgecvx.tune import references
from edgecvx.tune.references import rights_of

GOOD, BAD = (Sample(name=name, label=1, sha256=64 * name[0], path=Path(name)) for name in ("a.png", "broken.png"))


def test_a_search_that_goes_on_leaves_out_what_cannot_be_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[list[Sample]] = []

    def computed(samples: Sequence[Sample], *_: object) -> tuple[dict[str, bool], dict[str, str]]:
        asked.append(list(samples))
        right = {references._key(s): True for s in samples if s is GOOD}
        return right, {s.name: "no picture" for s in samples if s is BAD}

    monkeypatch.setattr(references, "_computed", computed)
    workshop: Any = SimpleNamespace(work=tmp_path)
    model: Any = SimpleNamespace(content={"weights": "of a test"})
    for _ in range(2):
        assert rights_of(workshop, [GOOD, BAD], model, 32) == {"a.png": True}
    assert asked == [[GOOD, BAD], [BAD]]
    with pytest.raises(UsageError, match=r"none of the 1 pictures can be decoded, 'broken.png' for one \(no picture\)"):
        rights_of(workshop, [BAD], model, 32)
