"""A small sweep, really: from its recipe to its report, stopped and resumed, and what its JSON says."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from schema import sweep_schema
from support import PATHS, ROOT
from waiting import PATIENCE

import edgecvx
from edgecvx.cli.main import run as command
from edgecvx.errors import EdgecvxError
from edgecvx.manifest import read_manifest
from edgecvx.report.read import read
from edgecvx.sweep import run as running
from edgecvx.sweep.child import Stopped
from edgecvx.sweep.execute import Child, Progress, tasks_of
from edgecvx.sweep.job import Job
from edgecvx.sweep.recipe.reading import read_recipe
from edgecvx.sweep.result import SCHEMA_FILE, SweepResult, as_json, read_json
from edgecvx.sweep.work import Done, Outcome, Tell, carry_out

Write = Callable[..., Path]
EXAMPLE = ROOT / "docs" / "examples" / "sweep.toml"


FLOATS = (
    ('precisions = ["fp32", "int8"]', 'precisions = ["fp32"]'),
    ('[[calibrations]]\nname = "few"\nsamples = 4\n', ""),
)
"""The recipe without INT8."""


class Here(Child):
    """This process in place of a child: it has everything imported."""

    did: list[str]

    def __init__(self) -> None:
        self.did = []

    def carry_out(
        self, jobs: Sequence[Job], inputs: Mapping[str, Path], folder: Path, tell: Tell, stop: threading.Event
    ) -> Iterator[Outcome]:
        def stopping(text: str, done: int, of: int) -> None:
            tell(text, done, of)
            if stop.is_set():
                raise Stopped

        for outcome in carry_out(jobs[0].kind, tasks_of(jobs), inputs, folder, stopping):
            self.did += [job.name for job in jobs if job.key == outcome.key and isinstance(outcome, Done)]
            yield outcome


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch) -> Here:
    hands = Here()
    monkeypatch.setattr(running, "Child", lambda: hands)
    return hands


def everything(out: Path) -> dict[str, bytes]:
    """The report in all its forms."""
    return {name: (out / name).read_bytes() for name in ("sweep.json", "report.html", "report.md", "report.csv")}


def swept(path: Path, out: Path, **how: Any) -> SweepResult:
    return edgecvx.sweep(path, out=out, **how)


def explained() -> str:
    """The recipe that the documentation explains."""
    text = (ROOT / "docs" / "sweep.md").read_text(encoding="utf-8")
    return text.partition("```toml\n")[2].partition("```")[0]


def test_the_recipe_in_the_documentation_is_read_as_it_stands(tmp_path: Path) -> None:
    for name, text in (("explained", explained()), ("example", EXAMPLE.read_text())):
        path = tmp_path / f"{name}.toml"
        path.write_text(text)
        asked = read_recipe(path).recipe
        assert [model.name for model in asked.models] == ["atto", "femto"]
        assert asked.gates and asked.exclude and asked.devices


def test_the_recipe_in_the_documentation_ends_in_files_results_and_one_report(
    here: Here, recipe: Write, tmp_path: Path
) -> None:
    """With a network of which a file takes a second, and fewer pictures and runs."""
    path, out, text = recipe(), tmp_path / "out", explained()
    for old, new in (
        ('model = "atto"                          #', 'model = "mine.safetensors"\nlabels = "labels.txt"\n#'),
        ('weights = "demo"\n\n[[models]]\nname = "femto"\nmodel = "femto"\nweights = "demo"\n', ""),
        ("224", "64"),
        ("samples = 64", "samples = 4"),
        ("limit = 200", "limit = 24"),
        ("runs = 40", "runs = 4\nrounds = 2\nend_to_end = false\nmemory = false"),
        ("min_ratio = 0.95", "max_drop = 100"),
    ):
        assert text.count(old) == 1
        text = text.replace(old, new)
    path.write_text(text)
    result = swept(path, out)
    assert result.exit_code == 1  # four runs are too few to tell how long they take
    assert result.missing == ()
    assert [cell.name for cell in result.cells] == [
        "atto-64-fp32.onnx",
        "atto-64-fp32.tflite",
        "atto-64-int8-drawn.onnx",
    ]
    assert here.did == [*(c.name for c in result.cells), *(f"{c.name} on drawn" for c in result.cells)]
    assert {(gate.kind, gate.verdict) for gate in result.gates} == {
        ("max_drop", "pass"),
        ("max_mb", "pass"),
        ("max_p50", "undecided"),
    }
    for cell in result.cells:
        assert cell.file is not None
        assert read_manifest(out / "files" / cell.name / cell.file).precision.value == cell.precision
        (accuracy,) = cell.accuracy
        assert accuracy.pictures == 24
        (timed,) = cell.latency
        assert timed.p50 is not None and timed.threads == 1
    found = read([out / "results"])
    assert (len(found.validations), len(found.benchmarks)) == (3, 1)
    page = (out / "report.html").read_text()
    assert "Every cell of the sweep" in page
    assert all(cell.name in page and cell.name in (out / "report.md").read_text() for cell in result.cells)
    text = (out / "sweep.json").read_text()
    assert read_json(text) == result
    ships = (Path(edgecvx.__file__).parent / "assets" / SCHEMA_FILE).read_text()
    assert ships == sweep_schema()
    schema = json.loads(ships)
    jsonschema.validate(json.loads(text), schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(text), "cells": 3}, schema)


def test_stopped_at_random_and_resumed_it_gives_the_same_report(here: Here, recipe: Write, tmp_path: Path) -> None:
    path = recipe()
    swept(path, tmp_path / "whole")
    here.did.clear()
    generator, stops = random.Random(7), 0
    while True:
        left = generator.randrange(1, 14)

        def interrupt(at: Progress) -> None:
            nonlocal left
            left -= 1
            if not left:
                raise KeyboardInterrupt

        try:
            swept(path, tmp_path / "stopped", on_progress=interrupt)
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops > 1
    assert sorted(here.did) == sorted(set(here.did))  # nothing was done twice
    assert everything(tmp_path / "stopped") == everything(tmp_path / "whole")
    # A twin: of other pictures the report is another one.
    swept(recipe(("limit = 24", "limit = 23")), tmp_path / "other")
    assert everything(tmp_path / "other")["sweep.json"] != everything(tmp_path / "whole")["sweep.json"]


def test_what_is_there_is_taken_and_no_resume_makes_it_anew(here: Here, recipe: Write, tmp_path: Path) -> None:
    path = recipe(*FLOATS)
    swept(path, tmp_path / "out")
    before = everything(tmp_path / "out")
    here.did.clear()
    swept(path, tmp_path / "out")
    assert here.did == []
    swept(path, tmp_path / "out", resume=False)
    assert here.did == ["mine-64-fp32.onnx", "mine-64-fp32.onnx on drawn"]
    assert everything(tmp_path / "out") == before
    here.did.clear()
    swept(recipe(*FLOATS, ("24", "25")), tmp_path / "out")
    assert here.did == ["mine-64-fp32.onnx on drawn"]


def test_a_gate_that_fails_is_exit_code_1_and_what_is_missing_is_2(
    here: Here, recipe: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = ["--out", str(tmp_path / "out")]
    assert command(["sweep", str(recipe(*FLOATS, ("max_mb = 1", "max_mb = 0.001"))), *out]) == 1
    assert "Gates that failed" in capsys.readouterr().out
    assert command(["sweep", str(recipe(*FLOATS)), *out, "--json"]) == 0
    assert read_json(capsys.readouterr().out).exit_code == 0
    board = '[[devices]]\nname = "gone"\ndevice = "ssh://nobody@127.0.0.1:1"\ntries = 1\n'
    assert command(["sweep", str(recipe(*FLOATS, more=board)), *out]) == 2
    told = capsys.readouterr()
    assert "error: bench mine-64 on gone: ssh://nobody@127.0.0.1:1 cannot be reached" in told.err
    assert "1 job missing" in told.out


def test_a_dry_run_says_what_would_be_done_and_does_nothing(
    recipe: Write, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command(["sweep", str(recipe()), "--out", str(out), "--dry-run", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["left"] == {"export": 2, "validate": 2}
    assert told["seconds"] > 0
    assert not out.exists()
    assert command(["sweep", str(recipe()), "--out", str(out), "--dry-run"]) == 0
    assert "2 of 2 exports, 2 of 2 validations" in capsys.readouterr().out


def test_the_result_is_written_and_read_alike(here: Here, recipe: Write, tmp_path: Path) -> None:
    text = as_json(SweepResult(edgecvx="1", name="n", key="k", cells=(), gates=(), missing=(), left_out=()))
    assert as_json(read_json(text)) == text
    with pytest.raises(EdgecvxError, match="not the JSON of a sweep"):
        read_json("{")


def test_a_child_ends_with_whoever_started_it(tmp_path: Path) -> None:
    order = {"kind": "export", "tasks": [], "inputs": {}, "folder": str(tmp_path)}
    long = "import edgecvx.sweep.child as c, time\nc.carry_out = lambda *_: (time.sleep(0.05) for _ in iter(int, 1))\n"
    process = subprocess.Popen(
        [sys.executable, "-c", f"{long}c.main()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": PATHS},
    )
    assert process.stdin is not None
    process.stdin.write(json.dumps(order).encode() + b"\n")
    process.stdin.close()
    assert process.wait(PATIENCE) != 0
