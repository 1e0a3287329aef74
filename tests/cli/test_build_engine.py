"""``edgecvx build-engine``: what it builds, where it puts it, and one line where it cannot. Not run on hardware."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pretended_nvidia import Cuda, TensorRT, pretend, trtexec
from safetensors.torch import save_file
from support import network

pytest.importorskip("onnxruntime")

from edgecvx import export, load
from edgecvx.cli import main as cli
from edgecvx.data.probe import probe_pictures
from edgecvx.runtimes import tensorrt_engine


@pytest.fixture(scope="module")
def artifact(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("artifact")
    save_file(network().state_dict(), str(folder / "birds.safetensors"))
    result = export(folder / "birds.safetensors", target=["tensorrt", "onnx"], image_size=64, out=folder)
    return result.artifacts[0].path


@pytest.fixture(autouse=True)
def no_trtexec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of NVIDIA's is found on the machine the tests run on."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tensorrt_engine, "TRTEXEC", tmp_path / "usr" / "trtexec")
    pretend(monkeypatch, trt=None, cuda=None)


def one_line(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    capfd.readouterr()
    assert cli.run(["build-engine", *arguments]) == 2
    captured = capfd.readouterr()
    assert not captured.out and "Traceback" not in captured.err
    (line,) = captured.err.splitlines()
    return line


def test_an_engine_is_built_once(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda())
    for cached in (False, True):
        assert cli.run(["build-engine", str(artifact), "--out", str(tmp_path / "engines"), "--json"]) == 0
        told = json.loads(capfd.readouterr().out)
        assert told["cached"] is cached and told["builder"] == "Python API"
    assert (told["tensorrt"], told["gpu"], told["compute_capability"]) == ("10.3.0", "Orin", "8.7")
    assert Path(told["path"]).is_file() and Path(told["path"]).parent == tmp_path / "engines"
    assert cli.run(["build-engine", str(artifact), "--out", str(tmp_path / "engines")]) == 0
    assert "there already" in capfd.readouterr().out


def test_the_artifact_runs_afterwards(artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the cache, where its runtime looks; the same answer as the file for ONNX Runtime gives."""
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda())
    assert cli.run(["build-engine", str(artifact)]) == 0
    picture = probe_pictures(64)[1]
    with load(artifact, isolated=False) as opened:
        ((first, *_),) = opened.predict([picture])
    with load(artifact.with_name(artifact.name.replace(".tensorrt", "")), isolated=False) as plain:
        ((expected, *_),) = plain.predict([picture])
    assert first.index == expected.index and first.logit == pytest.approx(expected.logit, abs=1e-4)


@pytest.mark.parametrize("place", ["PATH", "JetPack", "--trtexec"])
def test_trtexec_is_found(
    place: str, artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, trt=TensorRT() if place == "--trtexec" else None, cuda=Cuda())
    program = trtexec(tmp_path / {"PATH": "bin", "JetPack": "usr", "--trtexec": "own"}[place])
    option = ["--trtexec", str(program)] if place == "--trtexec" else []
    assert cli.run(["build-engine", str(artifact), "--out", str(tmp_path), "--workspace", "64", "--json", *option]) == 0
    assert json.loads(capfd.readouterr().out)["builder"] == "trtexec"
    assert json.loads((program.parent / "asked.json").read_text())["memPoolSize"] == "workspace:64"


def test_neither_is_one_line(artifact: Path, capfd: pytest.CaptureFixture[str]) -> None:
    told = one_line([str(artifact)], capfd)
    assert "TensorRT is not installed here" in told and "no trtexec either" in told


def test_what_cannot_be_built_is_one_line(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda())
    other = artifact.with_name(artifact.name.replace(".tensorrt", ""))
    assert "is a file for onnxruntime: export it with --target tensorrt" in one_line([str(other)], capfd)
    assert "there is no file" in one_line([str(tmp_path / "none.onnx")], capfd)
    assert "there is no program" in one_line([str(artifact), "--trtexec", str(tmp_path / "none")], capfd)
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda(gpu=None))
    assert "CUDA_ERROR_NO_DEVICE" in one_line([str(artifact)], capfd)
    pretend(monkeypatch, trt=TensorRT(says="out of\nmemory"), cuda=Cuda())
    assert "out of memory" in one_line([str(artifact), "--out", str(tmp_path / "engines")], capfd)
    assert not (tmp_path / "engines").exists()


def test_a_changed_artifact_is_not_built(
    artifact: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda())
    copy = tmp_path / artifact.name
    manifest = artifact.name + ".edgecvx.json"
    copy.write_bytes(artifact.read_bytes()[:-1] + b"\0")
    (tmp_path / manifest).write_bytes(artifact.with_name(manifest).read_bytes())
    assert "another SHA-256" in one_line([str(copy)], capfd)


def test_export_says_where_it_was_checked(artifact: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["inspect", str(artifact), "--json"]) == 0
    told = json.loads(capfd.readouterr().out)
    check = told["manifest"]["self_check"]
    assert told["manifest"]["runtime"] == "tensorrt" and check["runtime"].startswith("onnxruntime ")
    assert "not run in tensorrt" in check["note"]
    assert told["rules_broken"] == []
    assert cli.run(["inspect", str(artifact)]) == 0
    assert "all kept" in capfd.readouterr().out


def test_predict_without_tensorrt_is_one_line(artifact: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """Nothing stands in for it unsaid."""
    assert cli.run(["predict", str(artifact), "bird.png"]) == 2
    assert "TensorRT is not installed here" in capfd.readouterr().err
