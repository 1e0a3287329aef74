"""The report of a search: one page without scripts, Markdown, and JSON that comes back."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from schema import tune_schema
from tuned_sample import row, tuned

import edgecvx
from edgecvx.errors import EdgecvxError
from edgecvx.tune.report.page import markdown, page, write_reports
from edgecvx.tune.report.values import SCHEMA_FILE, Ending, as_json, read_json


def test_the_json_comes_back_as_it_was() -> None:
    assert read_json(as_json(tuned())) == tuned()


def test_json_with_a_key_that_nobody_knows_is_refused() -> None:
    data = json.loads(as_json(tuned()))
    with pytest.raises(EdgecvxError):
        read_json(json.dumps({**data, "colour": "red"}))


def test_the_schema_that_ships_is_that_of_the_values_and_holds_what_is_written() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    ships = (Path(edgecvx.__file__).parent / "assets" / SCHEMA_FILE).read_text(encoding="utf-8")
    assert ships == tune_schema()
    jsonschema.validate(json.loads(as_json(tuned())), json.loads(ships))
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**json.loads(as_json(tuned())), "kind": "sweep"}, json.loads(ships))


def test_the_page_says_the_verdict_and_shows_each_file_and_no_name_is_markup() -> None:
    text = page(tuned())
    for expected in (
        "Ship femto 192 onnx int8",
        "femto 224 onnx int8",
        "its weights alone are 20 MB",
        "A limit of 9 ms",
    ):
        assert expected in text
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    assert not re.search(r"(src|href)=.(?!data:)", text.replace('href="data:,"', ""))


def test_the_markdown_has_the_same() -> None:
    text = markdown(tuned())
    assert "Ship femto 192 onnx int8" in text
    assert "stages.2.blocks.1.mlp" in text


@pytest.mark.parametrize("kind", ["undecided", "impossible", "front"])
def test_every_end_has_a_page(kind: str) -> None:
    ending = Ending(kind=kind, sentence="No file of 2 keeps all limits.", file=None)  # type: ignore[arg-type]
    assert "No file of 2" in page(tuned(row("a", "breaks"), row("b", "error", ms=None, top1=None), ending=ending))


def test_exit_codes_are_those_of_a_gate() -> None:
    assert tuned().exit_code == 0
    for kind in ("undecided", "impossible"):
        assert tuned(ending=Ending(kind=kind, sentence="", file=None)).exit_code == 1
    assert tuned(ending=Ending(kind="front", sentence="", file=None)).exit_code == 0


def test_all_forms_are_written(tmp_path: Path) -> None:
    write_reports(tmp_path, tuned())
    assert {p.name for p in tmp_path.iterdir()} == {"tune.json", "report.md", "report.html"}
