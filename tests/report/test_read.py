"""The JSON files of a report: found where they are allowed to be, and harmless whatever is in them."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import benchmark_sample as sample
import pytest

from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.report import read as module
from edgecvx.report.read import read
from edgecvx.results.accuracy import as_json
from edgecvx.spec import to_json


def benchmark() -> dict[str, Any]:
    made: dict[str, Any] = to_json(sample.benchmark(sample.pi()))
    return made


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """A folder as one has it: results, a folder with more, and other JSON."""
    folder = tmp_path / "results"
    (folder / "boards" / "deeper").mkdir(parents=True)
    (folder / "validation.json").write_text(as_json(sample.validation()))
    (folder / "boards" / "pi.json").write_text(json.dumps(benchmark()))
    (folder / "boards" / "deeper" / "more.json").write_text(json.dumps(benchmark()))
    (folder / "model.onnx.edgecvx.json").write_text('{"schema_version": 1, "format": "onnx"}')
    (folder / "list.json").write_text("[1, 2]")
    (folder / "notes.txt").write_text("{")
    return folder


def test_a_folder_is_searched_one_level_deep(results: Path) -> None:
    found = read([results])
    assert found.files == ("validation.json", "pi.json")
    assert found.validations == (sample.validation(),)
    assert found.benchmarks == (sample.benchmark(sample.pi()),)
    assert found.warnings == (), "other JSON is left aside without a word"


def test_links_and_hidden_files_are_not_followed(results: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.json").write_text(json.dumps(benchmark()))
    (results / "link.json").symlink_to(outside / "secret.json")
    (results / "folder").symlink_to(outside)
    (results / ".hidden.json").write_text(json.dumps(benchmark()))
    (results / "loop").symlink_to(results)
    assert read([results]).files == ("validation.json", "pi.json")


def test_a_file_that_is_named_and_found_is_read_once(results: Path) -> None:
    assert len(read([results / "boards" / "pi.json", results]).benchmarks) == 1


DAMAGES: dict[str, Callable[[str], str]] = {
    "cut": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "not a number": lambda text: text.replace('"load": 0.04', '"load": NaN'),
    "infinite": lambda text: text.replace('"load": 0.04', '"load": 1e999'),
    "huge": lambda text: text.replace('"cores": 4', '"cores": ' + "9" * 400),
    "another version": lambda text: text.replace('"schema_version": 1', '"schema_version": 7'),
    "a key too much": lambda text: text.replace('"kind": "benchmark"', '"kind": "benchmark", "more": 1'),
    "a wrong type": lambda text: text.replace('"cores": 4', '"cores": "4"'),
    "a long text": lambda text: text.replace('"BCM2712"', json.dumps("x" * 10_000_000)),
    "a long key": lambda text: text.replace('"firmware"', json.dumps("x" * 30_000)),
    "deep": lambda text: "[" * 100_000,
    "a time of nothing": lambda text: text.replace('"samples_ns": [', '"samples_ns": [0, '),
    "a negative time": lambda text: text.replace('"samples_ns": [', '"samples_ns": [-1, '),
    "a ratio of nothing": lambda text: text.replace('"rounds": 20}', '"rounds": 20, "value": 0}'),
    "a time too small to divide by": lambda text: re.sub(r'"q": 0\.5, "ms": [\d.]+', '"q": 0.5, "ms": 1e-300', text),
    "a negative warm-up": lambda text: re.sub(r'("warm_up": \{"samples_ns": \[)\d+', r"\1-5", text, count=1),
    "a negative load": lambda text: re.sub(r'"load_ns": \d+', '"load_ns": -1', text, count=1),
    "a negative first run": lambda text: re.sub(r'"first_ns": \d+', '"first_ns": -1', text, count=1),
    "a negative run to settle": lambda text: re.sub(r'"settle_ns": \[\d*', '"settle_ns": [-1', text, count=1),
    "a negative memory": lambda text: re.sub(r'"peak": \d+', '"peak": -1', text, count=1),
    "ids twice": lambda text: text.replace('"id": "a1"', '"id": "a0"'),
    "no text": lambda text: "\udcff",
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_damage_is_an_error_in_a_named_file_and_a_warning_in_a_folder(damage: str, results: Path) -> None:
    text = json.dumps(benchmark())
    broken = DAMAGES[damage](text)
    assert broken != text
    file = results / "broken.json"
    file.write_bytes(broken.encode("utf-8", "surrogateescape"))
    with pytest.raises(EdgecvxError, match=r"broken\.json: damaged") as raised:
        read([file])
    assert len(str(raised.value)) < 1000, "in a line"
    found = read([results])
    assert found.files == ("validation.json", "pi.json")
    assert [warning for warning in found.warnings if "broken.json" in warning] == list(found.warnings)
    assert len(found.warnings) == 1


def test_a_named_file_that_is_something_else_is_an_error(results: Path) -> None:
    with pytest.raises(EdgecvxError, match="neither of edgecvx validate nor of edgecvx bench"):
        read([results / "list.json"])
    with pytest.raises(EdgecvxError, match="No such file"):
        read([results / "absent.json"])


def test_nothing_found_says_what_writes_results(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no results here; edgecvx validate --json FILE"):
        read([tmp_path])


def test_files_are_bounded(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LARGEST", 2000)
    with pytest.raises(EdgecvxError, match="no result is larger"):
        read([results / "validation.json"])
    monkeypatch.setattr(module, "LARGEST", 2**27)
    monkeypatch.setattr(module, "MOST", 3)
    assert any("more than 3 JSON files" in warning for warning in read([results]).warnings)
