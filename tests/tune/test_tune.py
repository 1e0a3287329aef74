"""A search from the command line to its files, on a small network whose times are planted."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from small_search import Searched, plant

import edgecvx
from edgecvx.cli.main import run
from edgecvx.errors import RuntimeUnavailableError, UsageError
from edgecvx.files import read_artifact
from edgecvx.tune.field import Field
from edgecvx.tune.report.values import Tuned, read_json


@pytest.fixture
def result(searched: Searched) -> Tuned:
    return read_json((searched[1] / "tune.json").read_text(encoding="utf-8"))


def test_a_search_ends_decided_with_a_file_that_opens(searched: Searched, result: Tuned) -> None:
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


def test_every_stage_leaves_its_table_and_its_cost(searched: Searched, result: Tuned) -> None:
    assert [s.name for s in result.stages] == ["bounds", "answers", "times", "blocks", "race"]
    tables = {p.stem for p in (searched[1] / "stages").iterdir()}
    assert tables == {"bounds", "answers", "times-local", "race-local"}
    assert (searched[1] / "report.html").exists()


def test_predictions_stand_beside_measurements(result: Tuned) -> None:
    (device,) = result.devices
    assert device.misses
    assert all(abs(m.off) < 0.05 for m in device.misses)


def test_a_second_search_exports_and_validates_nothing_again(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def again(*_: object, **__: object) -> None:
        raise AssertionError("this was done already")

    plant(monkeypatch, searched[1].parent / "cache")
    monkeypatch.setattr(edgecvx, "export", again, raising=False)
    monkeypatch.setattr(edgecvx, "validate", again, raising=False)
    assert run([*searched[0], "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["kind"] == "tune"


def test_an_impossible_limit_ends_in_exit_code_1_and_ships_nothing(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    plant(monkeypatch, searched[1].parent / "cache")
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


def test_a_limit_that_every_file_breaks_by_its_weights_alone_says_so_and_measures_nothing(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("there is nothing to measure")

    monkeypatch.setattr(Field, "bench", measured)
    monkeypatch.setattr(edgecvx, "export", measured, raising=False)
    arguments = [*searched[0][:-1], str(tmp_path / "out")]
    assert run([*arguments, "--max-mb", "0.001", "--json"]) == 1
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["ending"]["kind"] == "impossible" and device["ending"]["binding"] == ["max_mb"]
    assert "Without a file of at most 0.001 MB there might be one" in device["ending"]["sentence"]
    assert {row["state"] for row in device["rows"]} == {"dropped"}


def test_a_budget_that_is_used_up_before_the_race_begins_no_race(
    searched: Searched, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def measured(*_: object, **__: object) -> None:
        raise AssertionError("there was no time for this")

    monkeypatch.setattr(edgecvx, "export", measured, raising=False)
    monkeypatch.setattr(edgecvx, "validate", measured, raising=False)
    arguments = [*searched[0][:-1], str(tmp_path / "out")]
    assert run([*arguments, "--budget", "0.0001", "--json"]) == 1
    (device,) = json.loads(capsys.readouterr().out)["devices"]
    assert device["ending"]["kind"] == "undecided" and device["shipped"] is None
    assert "used up before the race" in device["ending"]["sentence"]
    assert device["ending"]["sentence"].endswith("The same search with a longer budget goes on from here.")


def test_without_scipy_nothing_is_begun(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    there = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "scipy" else there(name))
    with pytest.raises(RuntimeUnavailableError, match=r"scipy.*pip install 'edgecvx\[tune\]'"):
        edgecvx.tune("atto", target="onnx", weights="demo", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
