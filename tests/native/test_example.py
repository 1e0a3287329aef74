"""The example of a program in C: built as its page says, it names the class that the reference names."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import native_programs as programs
import numpy as np
import pytest
from ecvx_networks import random_description
from ecvx_reference import answer
from PIL import Image

from edgecvx.board import pictures
from edgecvx.data.demo import picture
from edgecvx.export.native.writer import write
from edgecvx.native.build import libraries
from edgecvx.native.sources import ENGINE
from edgecvx.spec import InputKind, Task

SOURCE = Path(__file__).parents[2] / "examples" / "c" / "classify.c"
STRICT = ("-std=c11", "-Wall", "-Wextra", "-pedantic", "-Werror")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (compiler := programs.here()):
        pytest.skip("there is no C compiler")
    path = tmp_path_factory.mktemp("example") / "classify"
    command = [*compiler, *STRICT, f"-I{ENGINE}", str(SOURCE), str(programs.library()), "-lm", "-o", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return path


def test_its_page_builds_it_from_the_exported_source_alone(tmp_path: Path) -> None:
    if not (compiler := programs.here()):
        pytest.skip("there is no C compiler")
    (wanted,) = re.findall(r"^cc (.+) -o classify$", (SOURCE.parent / "README.md").read_text(), re.MULTILINE)
    (tmp_path / "classify.c").write_bytes(SOURCE.read_bytes())
    for suffix, content in libraries(["source"]).items():
        (tmp_path / f"edgecvx{suffix.removeprefix('.source')}").write_bytes(content)
    quick = [word.replace("-O3", "-O0") for word in wanted.split()]
    done = subprocess.run(
        [*compiler, *quick, "-o", "classify"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert run(tmp_path / "classify").stderr == "error: classify takes a model and a picture\n"


def run(program: Path, *words: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(program), *map(str, words)], capture_output=True, text=True, check=False)


def test_it_is_short() -> None:
    assert len(SOURCE.read_text().splitlines()) <= 60


@pytest.mark.parametrize("kind", InputKind)
def test_it_names_the_five_best_classes_in_the_references_order(program: Path, tmp_path: Path, kind: InputKind) -> None:
    described = random_description(
        50, task=Task.CLASSIFY, classes=10, labelled=True, integers=0.0, taps=0, input_kind=kind
    )
    pixels, _ = picture(3, stream="validation", size=150)
    (tmp_path / "model.ecvx").write_bytes(write(described))
    (tmp_path / "picture.ppm").write_bytes(b"P6 %d %d 255\n" % pixels.shape[1::-1] + pixels.tobytes())
    done = run(program, tmp_path / "model.ecvx", tmp_path / "picture.ppm")
    assert (done.returncode, done.stderr) == (0, "")
    cropped = pictures.resize_and_crop(Image.fromarray(pixels), described.preprocess)
    image = cropped if kind is InputKind.UINT8 else pictures.normalize(cropped, described.preprocess)
    logits = answer(described, np.asarray(image)[None])[0][0]
    chances = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
    best = chances.argsort()[::-1][:5]
    percents = [float(line.split("%")[0]) for line in done.stdout.splitlines()]
    assert percents == pytest.approx(100 * chances[best], abs=0.055)  # rounded to a tenth, of floats with 12 bits
    lines = zip(percents, best, strict=True)
    assert done.stdout == "".join(f"{percent:5.1f}%  {described.labels[i]}\n" for percent, i in lines)


def test_what_is_wrong_is_one_line(program: Path, tmp_path: Path) -> None:
    (tmp_path / "picture.ppm").write_bytes(b"P6 2 2 255\n" + bytes(12))
    (tmp_path / "model.ecvx").write_bytes(b"no model")
    for words, sentence in (
        ((), "classify takes a model and a picture"),
        ((tmp_path / "model.ecvx", tmp_path / "model.ecvx"), "the picture cannot be read"),
        ((tmp_path / "model.ecvx", tmp_path / "picture.ppm"), "the file is no model of edgecvx"),
    ):
        done = run(program, *words)
        assert done.returncode == 1 and done.stderr.startswith(f"error: {sentence}") and done.stderr.count("\n") == 1
