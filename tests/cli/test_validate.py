"""``edgecvx validate`` as it is typed: what is refused before anything runs, and where errors are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from commands import fails

from edgecvx.accuracy import validate as accuracy
from edgecvx.cli import main as cli


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--json", "."], ". is a folder: name a file"),
        (["--html", "/dev/null/report.html"], "/dev/null/report.html cannot be written"),
        (["--markdown", "-"], "--markdown - does not work: only JSON goes to standard output"),
        (["--json", "same", "--html", "./same"], "--json and --html name one file for two reports"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_runs(
    arguments: list[str],
    why: str,
    small_classifier: Any,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(accuracy, "validate", lambda *_, **__: pytest.fail("it ran"))
    assert why in fails(["validate", str(small_classifier.path), *arguments], capfd)


@pytest.mark.parametrize("form", [[], ["--json", "-"]])
def test_errors_of_an_artifact_are_told_on_standard_error(
    form: list[str], small_classifier: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / small_classifier.path.name
    path.write_bytes(small_classifier.path.read_bytes()[:-1])
    manifest = small_classifier.path.name + ".edgecvx.json"
    (tmp_path / manifest).write_text(small_classifier.path.with_name(manifest).read_text())
    assert cli.run(["validate", str(path), "--limit", "8", *form]) == 2
    shown = capfd.readouterr()
    (told,) = [line for line in shown.err.splitlines() if line.startswith("error: ")]
    assert path.name in told and "is not the file that was checked" in told
    if form:
        assert json.loads(shown.out)["artifacts"][0]["error"] in told
