"""``edgecvx report``: results in, files out, and one line where something is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import benchmark_sample as sample
import pytest
from commands import fails

from edgecvx.cli import main as cli
from edgecvx.results.accuracy import as_json
from edgecvx.spec import to_json

FORMS = ("report.csv", "report.html", "report.md")


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "results"
    folder.mkdir()
    (folder / "validation.json").write_text(as_json(sample.validation()))
    (folder / "bench.json").write_text(json.dumps(to_json(sample.benchmark())))
    return folder


def written(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if not p.name.endswith(".json") and p.is_file()))


def test_a_folder_gets_its_report_and_is_told_where(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(results)]) == 0
    assert written(results) == FORMS
    out = capsys.readouterr().out
    assert out.splitlines() == [
        "1 validation and 1 benchmark, joined:",
        *(str(results / f"report.{s}") for s in ("html", "md", "csv")),
    ]
    assert (results / "report.html").read_text().startswith("<!doctype html>")
    assert cli.run(["report", str(results)]) == 0, "and again, over the old ones"


def test_files_get_theirs_where_one_stands(results: Path, tmp_path: Path) -> None:
    assert cli.run(["report", str(results / "bench.json"), str(results / "validation.json")]) == 0
    assert written(tmp_path) == FORMS and written(results) == ()


def test_out_is_where_they_go_and_is_made(results: Path, tmp_path: Path) -> None:
    assert cli.run(["report", str(results), "--out", "new/place"]) == 0
    assert written(tmp_path / "new" / "place") == FORMS


def test_only_what_is_named_is_written(results: Path, tmp_path: Path) -> None:
    assert cli.run(["report", str(results), "--html", "page.html", "--title", "My <boards>"]) == 0
    assert written(tmp_path) == ("page.html",) and written(results) == ()
    assert "<title>My &lt;boards&gt;</title>" in (tmp_path / "page.html").read_text()


def test_the_table_is_all_there_is_on_standard_output(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["report", str(results), "--table"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("**AMD EPYC 7B13**") and "| onnx int8 2T | ✓ pass | 93.45% |" in out
    assert written(results) == ()


def test_damage_in_a_folder_is_a_warning_and_in_a_named_file_an_error(
    results: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (results / "cut.json").write_text('{"kind": "benchmark", ')
    assert cli.run(["report", str(results)]) == 0
    told = " ".join(capsys.readouterr().err.split())
    assert "cut.json" in told
    assert "cut.json: damaged" in (results / "report.html").read_text(), "whoever gets the page sees it too"
    assert cli.run(["report", str(results / "cut.json")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize("arguments", [["absent.json"], ["empty"], []])
def test_nothing_to_report_is_an_error(arguments: list[str], results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (results.parent / "empty").mkdir()
    assert cli.run(["report", *arguments]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--html", "results"], "results is a folder: name a file"),
        (["--out", "notes.txt"], "notes.txt is no folder this user may write to"),
        (["--html", "-"], "--html - does not work: only JSON goes to standard output"),
        (["--markdown", "-"], "--markdown - does not work"),
        (["--csv", "-"], "--csv - does not work"),
        (["--html", "same", "--csv", "./same"], "--html and --csv name one file for two reports"),
        (["--out", ".", "--html", "report.md"], "--html and --markdown name one file for two reports"),
    ],
)
def test_a_place_that_cannot_be_written_is_refused_before_anything_is_read(
    arguments: list[str], why: str, results: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (results / "cut.json").write_text("{")  # a warning, once it is read
    assert why in fails(["report", "results", *arguments], capfd)
    assert written(tmp_path) == ("notes.txt",) and written(results) == ()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_what_was_there_stays_where_nothing_new_can_be_written(results: Path) -> None:
    (results / "page.html").write_text("old")
    (results / "file").write_text("not a folder")
    assert cli.run(["report", str(results), "--html", str(results / "file" / "page.html")]) == 2
    assert (results / "page.html").read_text() == "old"
