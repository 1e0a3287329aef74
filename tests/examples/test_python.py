"""The programs without edgecvx, as they stand, give the answers of ``edgecvx predict``."""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from documented import ROOT, fences
from PIL import Image

from edgecvx.cli import main as cli
from edgecvx.data import demo

if TYPE_CHECKING:
    from small_classifier import Exported

EXAMPLES = ROOT / "examples" / "python"
DIGITS = 2e-4
"""The programs print four digits, and prepare pictures in float64; a sum of float32 is one in 1e-6 off."""


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A drawn picture that is no square, larger than the network's: what is cut and resized wrongly shows."""
    pixels, _ = demo.picture(3, size=224)
    file = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(pixels[:, :171]).save(file)
    return file


@pytest.fixture(scope="module")
def artifacts(small_classifier: Exported, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The small classifier's ONNX file, and its files for the other runtimes."""
    for package in ("openvino", "ai_edge_litert", "coremltools"):
        pytest.importorskip(package)
    from edgecvx.pipeline import export

    folder = tmp_path_factory.mktemp("examples")
    labels = small_classifier.path.with_name("labels.txt")
    targets = ["openvino", "tflite", "coreml"]
    written = export(small_classifier.checkpoint, target=targets, image_size=64, labels=labels, out=folder)
    return {"onnx": small_classifier.path, **{one.target: one.path for one in written.artifacts}}


def predicted(artifact: Path, picture: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, float]:
    """What ``edgecvx predict --json`` says."""
    capsys.readouterr()
    assert cli.run(["predict", str(artifact), str(picture), "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)["answers"]
    return {row["label"]: row["probability"] for row in answer["classes"]}


def told(output: str) -> dict[str, float]:
    """What a program printed."""
    rows = (line.split(" ", 1) for line in output.splitlines())
    return {label: float(probability) for probability, label in rows}


def assert_same(actual: dict[str, float], expected: dict[str, float]) -> None:
    assert list(actual) == list(expected)
    assert actual == pytest.approx(expected, abs=DIGITS)
    assert max(expected.values()) - min(expected.values()) > 100 * DIGITS


@pytest.mark.parametrize("name", ["onnx", "openvino", "tflite"])
def test_a_program_of_fifteen_lines_answers_as_predict(
    name: str, artifacts: dict[str, Path], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    program = [sys.executable, str(EXAMPLES / f"classify_{name}.py"), str(artifacts[name]), str(picture)]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert_same(told(done.stdout), predicted(artifacts[name], picture, capsys))


def test_core_mls_program_gives_a_mac_what_predict_gives_its_executor(
    artifacts: dict[str, Path], picture: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Off a Mac ``MLModel.predict`` is the reference executor's; the rest of the program runs as it stands."""
    import edgecvx

    class Model:
        def __init__(self, path: str) -> None:
            self._path = path

        def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
            with edgecvx.load(self._path, isolated=False) as opened:
                return dict(opened.run(inputs["image"]))

    stand_in = SimpleNamespace(models=SimpleNamespace(MLModel=Model))
    monkeypatch.setitem(sys.modules, "coremltools", stand_in)
    monkeypatch.setattr(sys, "argv", ["classify_coreml.py", str(artifacts["coreml"]), str(picture)])
    expected = predicted(artifacts["coreml"], picture, capsys)
    runpy.run_path(str(EXAMPLES / "classify_coreml.py"))
    assert_same(told(capsys.readouterr().out), expected)


def test_a_program_that_forgets_to_cut_is_noticed(
    artifacts: dict[str, Path], picture: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (EXAMPLES / "classify_onnx.py").read_text(encoding="utf-8")
    broken = tmp_path / "classify.py"
    broken.write_text(text.replace(".crop((left, top, left + size, top + size))", ".resize((size, size))"))
    program = [sys.executable, str(broken), str(artifacts["onnx"]), str(picture)]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    with pytest.raises(AssertionError):
        assert_same(told(done.stdout), predicted(artifacts["onnx"], picture, capsys))


@pytest.mark.parametrize("file", sorted(EXAMPLES.glob("*.py")), ids=lambda file: file.stem)
def test_a_program_needs_no_edgecvx_and_is_short(file: Path) -> None:
    lines = [line for line in file.read_text(encoding="utf-8").split('"""', 2)[2].splitlines() if line.strip()]
    assert not any("edgecvx" in line for line in lines if line.startswith(("import", "from")))
    assert len([line for line in lines if not line.startswith(("import", "from"))]) <= 16


def test_the_page_shows_the_program_that_is_run() -> None:
    shown = [f.text for f in fences(ROOT / "docs" / "without-edgecvx.md") if f.language == "python"]
    assert shown == [(EXAMPLES / "classify_onnx.py").read_text(encoding="utf-8")]


@pytest.mark.parametrize("file", ["android/Classifier.kt", "ios/Classifier.swift"])
def test_what_is_not_built_here_says_so_first(file: str) -> None:
    text = (ROOT / "examples" / file).read_text(encoding="utf-8")
    assert text.startswith("// Not built here")
    assert all(text.count(a) == text.count(b) for a, b in ("()", "{}", "[]"))
