"""A search from the command line to its files, on a small network whose times are planted."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

import edgecvx
from edgecvx.cli.main import run
from edgecvx.data import demo
from edgecvx.errors import UsageError
from edgecvx.files import read_artifact
from edgecvx.spec import Precision
from edgecvx.tune import tune as calls
from edgecvx.tune.field import Field
from edgecvx.tune.race.measured import Timing
from edgecvx.tune.report.values import Tuned, read_json

if TYPE_CHECKING:
    from small_classifier import Exported

MS = {Precision.FP32: 4.0, Precision.FP16: 5.0, Precision.INT8: 2.0, Precision.INT8_DYNAMIC: 2.5}


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


@pytest.fixture(scope="module")
def searched(small_classifier: Exported, tmp_path_factory: pytest.TempPathFactory) -> tuple[list[str], Path, int]:
    """One search from the command line: its arguments, its folder, its exit code."""
    folder = tmp_path_factory.mktemp("search")
    labels = folder / "labels.txt"
    labels.write_text("\n".join(demo.CLASSES))
    arguments = ["tune", str(small_classifier.checkpoint), "--labels", str(labels), "--target", "onnx"]
    arguments += ["--max-drop", "60", "--sizes", "32,64", "--budget", "5", "--out", str(folder / "out")]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EDGECVX_CACHE", str(folder / "cache"))
        patch.setattr(Field, "bench", bench)
        patch.setattr(calls, "refine", lambda *_, **__: None)
        code = run(arguments)
    return arguments, folder / "out", code


@pytest.fixture
def result(searched: tuple[list[str], Path, int]) -> Tuned:
    return read_json((searched[1] / "tune.json").read_text(encoding="utf-8"))


def test_a_search_ends_decided_with_a_file_that_opens(searched: tuple[list[str], Path, int], result: Tuned) -> None:
    (device,) = result.devices
    assert searched[2] == 0, device.ending.sentence
    assert device.ending.kind == "decided"
    assert device.shipped is not None
    path, manifest = read_artifact(searched[1] / device.shipped)
    assert path.suffix == ".onnx"
    (shipped,) = [r for r in device.rows if r.state == "ship"]
    assert shipped.precision == manifest.precision.value == "int8"
    assert shipped.ms is not None
    assert shipped.pictures >= 128


def test_every_stage_leaves_its_table_and_its_cost(searched: tuple[list[str], Path, int], result: Tuned) -> None:
    assert [s.name for s in result.stages] == ["bounds", "answers", "times", "blocks", "race"]
    tables = {p.stem for p in (searched[1] / "stages").iterdir()}
    assert tables == {"bounds", "answers", "times-local", "race-local"}
    assert (searched[1] / "report.html").exists()


def test_predictions_stand_beside_measurements(result: Tuned) -> None:
    (device,) = result.devices
    assert device.misses
    assert all(abs(m.off) < 0.05 for m in device.misses)


def test_a_second_search_exports_and_validates_nothing_again(
    searched: tuple[list[str], Path, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(*_: object, **__: object) -> None:
        raise AssertionError("this was done already")

    monkeypatch.setattr(Field, "bench", bench)
    monkeypatch.setattr(calls, "refine", lambda *_, **__: None)
    monkeypatch.setattr(edgecvx, "export", again, raising=False)
    monkeypatch.setattr(edgecvx, "validate", again, raising=False)
    assert run([*searched[0], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "tune"


def test_an_impossible_limit_ends_in_exit_code_1_and_ships_nothing(
    searched: tuple[list[str], Path, int], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Field, "bench", bench)
    monkeypatch.setattr(calls, "refine", lambda *_, **__: None)
    assert run([*searched[0], "--max-p50", "0.01", "--json"]) == 1
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["ending"]["kind"] == "impossible"
    assert "max_p50" in device["ending"]["binding"]
    assert device["shipped"] is None


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"max_drop": 1.0, "min_top1": 90.0}, "exclude each other"),
        ({"sizes": (100,)}, "multiple of 32"),
        ({"budget": 0.0}, "--budget"),
        ({"one_file": True}, "two devices"),
        ({"target": "nothing"}, "nothing"),
    ],
)
def test_what_cannot_be_carried_out_is_refused_before_any_work(
    wrong: dict[str, object], says: str, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match=says):
        edgecvx.tune("atto", **{"target": "onnx", "out": tmp_path / "out", **wrong})  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()
