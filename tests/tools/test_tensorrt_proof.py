"""The proof that waits for a GPU: prepared as it will be, run against the stand-ins for TensorRT, CUDA and trtexec.

What it says of a GPU is not known before it met one; that it says so in one sentence where there is none, is.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
import tensorrt_run
from pretended_nvidia import Cuda, pretend, trtexec
from support import ROOT
from tensorrt_files import LATENCY, LOGITS, PICTURES, PLAN, TABLE, plan_text, read_plan
from tensorrt_table import Answers
from tensorrt_times import trtexec_milliseconds

from edgecvx.errors import EdgecvxError

pytest.importorskip("onnxruntime")
pytest.importorskip("ziglang")
pytest.importorskip("setuptools", minversion="77")

from tensorrt_measure import compare
from tensorrt_prepare import main as prepare_main
from tensorrt_prepare import prepare

COUNT = 24
SITE = """
import ctypes, os, sys
sys.path.append({tests!r})
from pretended_nvidia import Cuda, TensorRT
stand_in, real = Cuda(gpu="NVIDIA H200"), ctypes.CDLL
class CDLL(real):
    def __new__(cls, name=None, *a, **k):
        return stand_in if name == "libcuda.so.1" else super().__new__(cls)
ctypes.CDLL = CDLL
sys.modules["tensorrt"] = TensorRT("10.16.1.11")
"""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo atto at 64 pixels, which answers as it pleases but the same everywhere."""
    return prepare(tmp_path_factory.mktemp("gpu") / "proof", count=COUNT, model="atto", image_size=64, calib_samples=16)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose Python finds TensorRT and a GPU, and whose PATH has trtexec."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text(textwrap.dedent(SITE).format(tests=str(ROOT / "tests/support")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join((str(tmp_path / "site"), str(ROOT))))
    monkeypatch.setenv("PATH", f"{trtexec(tmp_path / 'bin').parent}:{os.environ['PATH']}")
    return tmp_path


def test_the_folder_holds_all_that_a_gpu_is_asked(prepared: Path) -> None:
    plan = read_plan(prepared)
    assert [name.split("-64-")[1] for name in plan.files] == [
        "fp32.tensorrt.onnx",
        "fp16.tensorrt.onnx",
        "int8.tensorrt.onnx",
        "int8.ecvx",
    ]
    assert all((prepared / name).is_file() for name in plan.files) and list(prepared.glob("edgecvx-*.whl"))
    assert np.load(prepared / PICTURES).shape == (COUNT, 64, 64, 3)
    assert np.load(prepared / LOGITS).shape == (COUNT, 24) and len(plan.labels) == COUNT
    assert {"tensorrt_run.py", "tensorrt_measure.py"} <= {path.name for path in prepared.iterdir()}
    assert not (prepared / "tensorrt_prepare.py").exists()


def test_engines_are_built_answered_and_timed_in_one_call(prepared: Path, machine: Path) -> None:
    folder = shutil.copytree(prepared, machine / "proof")
    plan = read_plan(folder)
    (folder / PLAN).write_text(plan_text(dataclasses.replace(plan, files=plan.files[::3])))  # FP32 and the native one
    shorter = "import tensorrt_measure as m, tensorrt_times as t; t.WARM_UP = t.SECONDS = 0.01; m.RUNS, m.ROUNDS = 4, 2"
    words = [sys.executable, "-c", f"{shorter}; import sys; sys.exit(m.main(sys.argv[1:]))", str(folder)]
    path = os.pathsep.join((os.environ["PYTHONPATH"], str(folder)))
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    text = (folder / TABLE).read_text()
    assert "NVIDIA H200, compute capability 8.7, driver " in text and "TensorRT 10.16.1.11" in text
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(lines) == 2 and all(" ms " in line for line in lines)
    assert "| 0.00% | 1 |" in lines[0] and "| 0.00% | 1 |" not in lines[1]  # other answers than FP32's, mean cosine
    assert "0.321 ms" in lines[0] and "0.321 ms" not in lines[1]  # trtexec's word, of engines alone
    assert json.loads((folder / LATENCY).read_text())["devices"]


def test_an_engine_that_computes_something_else_shows_in_the_table() -> None:
    reference = np.random.default_rng(0).normal(size=(50, 24))
    labels = reference.argmax(axis=1).tolist()
    same = compare(reference, reference, labels, "")
    other = compare(np.roll(reference, 1, axis=1), reference, labels, "")
    assert (same.top1, same.others, same.worst) == (1.0, 0.0, 0.0) and same.cosine == pytest.approx(1.0)
    assert isinstance(other, Answers) and other.others > 0.9 and other.cosine < 0.5 and other.worst > 0.1


def test_a_machine_that_cannot_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for system, library, sentence in (
        ("darwin", None, "TensorRT's wheels are for Linux on x86-64, and this is darwin"),
        ("linux", None, "there is no NVIDIA driver here (libcuda.so.1)"),
        ("linux", Cuda(gpu=None), "there is an NVIDIA driver here, but no GPU that it can use"),
        ("linux", Cuda(), "there is no wheel of edgecvx in"),
    ):
        monkeypatch.setattr("sys.platform", system)
        monkeypatch.setattr("platform.machine", lambda: "x86_64")
        pretend(monkeypatch, trt=None, cuda=library)
        assert tensorrt_run.main([], folder=tmp_path) == 2
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith("error: ") and sentence in line


def test_a_tensorrt_that_pip_does_not_have_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def environment(folder: Path, **options: bool) -> None:
        (folder / "bin").mkdir(parents=True)
        (folder / "bin/python").write_text(
            '#!/bin/sh\ncase "$*" in *whl*) exit 0;; esac\n'
            "echo 'ERROR: No matching distribution found for tensorrt-cu12==99' >&2\nexit 1\n"
        )
        (folder / "bin/python").chmod(0o755)

    (tmp_path / "edgecvx-0-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setattr("venv.create", environment)
    pretend(monkeypatch, trt=None, cuda=Cuda())
    assert tensorrt_run.main(["--tensorrt", "tensorrt-cu12==99"], folder=tmp_path) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: pip cannot bring tensorrt-cu12==99 for Python 3.")
    assert line.endswith("No matching distribution found for tensorrt-cu12==99")


def test_a_python_that_makes_no_environment_is_one_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def environment(folder: Path, **options: bool) -> None:
        raise subprocess.CalledProcessError(1, ["python3", "-m", "ensurepip"])

    (tmp_path / "edgecvx-0-py3-none-any.whl").write_bytes(b"")
    monkeypatch.setattr("venv.create", environment)
    pretend(monkeypatch, trt=None, cuda=Cuda())
    assert tensorrt_run.main([], folder=tmp_path) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith("error: ") and line.endswith("install python3-venv, or see --here")


def test_a_plan_of_something_else_is_told_by_its_key(tmp_path: Path) -> None:
    (tmp_path / PLAN).write_text('{"model": "femto", "files": []}')
    with pytest.raises(EdgecvxError, match="labels"):
        read_plan(tmp_path)


def test_the_newest_tensorrt_that_the_driver_runs_is_brought() -> None:
    assert [tensorrt_run.requirement(cuda) for cuda in (12080, 13000)] == ["tensorrt-cu12", "tensorrt-cu13"]


def test_another_tensorrt_is_one_sentence(prepared: Path, machine: Path) -> None:
    site = machine / "site/sitecustomize.py"
    site.write_text(site.read_text().replace("10.16.1.11", "8.6.2"))
    words = [sys.executable, str(prepared / "tensorrt_run.py"), "--here"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 2 and "TensorRT 8.6.2 is too old" in done.stderr and len(done.stderr.splitlines()) == 1


def test_a_trtexec_that_says_nothing_is_no_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(trtexec(tmp_path, fails=True).parent))
    assert trtexec_milliseconds(tmp_path / "engine") is None


def test_a_folder_that_is_there_is_not_prepared_over(prepared: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert prepare_main(["--out", str(prepared)]) == 2
    assert "is there already" in capfd.readouterr().err
