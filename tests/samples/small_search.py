"""One search on a small network whose times are planted, and what others take from its folder."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgecvx.cli.main import run
from edgecvx.data import demo
from edgecvx.spec import Precision
from edgecvx.tune import pictures
from edgecvx.tune import search as calls
from edgecvx.tune.field import Field
from edgecvx.tune.race.measured import Timing

if TYPE_CHECKING:
    from small_classifier import Exported

MS = {Precision.FP32: 4.0, Precision.FP16: 5.0, Precision.INT8: 2.0, Precision.INT8_DYNAMIC: 2.5}
BUDGET = 600
ASKED: Mapping[str, Any] = {"target": "onnx", "max_drop": 60, "sizes": (32, 64), "budget": BUDGET}
Searched = tuple[list[str], Path, int]


def bench(self: Field, names: Sequence[str], rounds: int) -> Mapping[str, Timing]:
    """Times that go with pixels, with a little chance."""
    chance = np.random.default_rng(self.rounds)
    first, self.rounds = self.rounds, self.rounds + rounds
    self.facts["local"] = "a planted machine"
    found = {}
    for name in names:
        c = self.candidates[name]
        self.workshop.file(c)
        ms = MS[c.precision] * (c.size / 64) ** 2 * np.exp(0.01 * chance.standard_normal(rounds))
        found[name] = Timing(rounds={first + i: float(t) for i, t in enumerate(ms)})
    return found


def plant(patch: pytest.MonkeyPatch, cache: Path) -> None:
    """Planted times in place of a device's, no network looked at block by block, and time for all of it.

    How many pictures predictions are made from follows from the budget, which no busy machine may use up: here a few.
    """
    patch.setenv("EDGECVX_CACHE", str(cache))
    patch.setattr(Field, "bench", bench)
    patch.setattr(calls, "refine", lambda *_, **__: None)
    patch.setattr(pictures, "A_MINUTE", 0)


@pytest.fixture(scope="session")
def searched(small_classifier: Exported, tmp_path_factory: pytest.TempPathFactory) -> Searched:
    """One search from the command line: its arguments, its folder, its exit code."""
    folder = tmp_path_factory.mktemp("search")
    labels = folder / "labels.txt"
    labels.write_text("\n".join(demo.CLASSES))
    arguments = ["tune", str(small_classifier.checkpoint), "--labels", str(labels), "--target", "onnx"]
    arguments += ["--max-drop", "60", "--sizes", "32,64", "--budget", str(BUDGET), "--out", str(folder / "out")]
    with pytest.MonkeyPatch.context() as patch:
        plant(patch, folder / "cache")
        code = run(arguments)
    return arguments, folder / "out", code


def files_of(searched: Searched, out: Path, *, answered: bool) -> Path:
    """A folder in which everything is written and nothing is timed; FP32 has answered, and files where it says so."""
    for part in ("files", "plans", "answers"):
        shutil.copytree(searched[1] / "work" / part, out / "work" / part)
    for answers in (out / "work" / "answers").iterdir():
        if not answered and not answers.name.startswith("fp32-"):
            answers.unlink()
    return out


def labels_of(searched: Searched) -> Path:
    """The names of the classes."""
    return searched[1].parent / "labels.txt"
