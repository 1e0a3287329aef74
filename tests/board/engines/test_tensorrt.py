"""TensorRT on the device that is measured: compiled once, before and apart from everything that is timed.

Against stand-ins for TensorRT and CUDA that hold what is asked of them to NVIDIA's manual; not run on hardware.
"""

from __future__ import annotations

import hashlib
import os
import re
import textwrap
from pathlib import Path

import numpy as np
import pytest
from lowerings import canonical
from pretended_nvidia import MAGIC, Cuda, TensorRT, pretend
from support import ROOT, network, probe

pytest.importorskip("onnxruntime")

from edgecvx.board import engines
from edgecvx.board.engines.base import Refused
from edgecvx.board.engines.tensorrt import engines_folder
from edgecvx.cli import main as cli
from edgecvx.export.base import Options
from edgecvx.export.tensorrt.lower import SUFFIX, lower
from edgecvx.latency.bench import benchmark, read_json
from edgecvx.latency.devices.collect import At
from edgecvx.runtimes import open_session
from edgecvx.runtimes.tensorrt_engine import build_file

Nvidia = tuple[TensorRT, Cuda]


@pytest.fixture(scope="module")
def content() -> bytes:
    return lower(canonical(network()), Options()).files[SUFFIX]


@pytest.fixture
def path(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file in the folder of a measurement, under the name it has there."""
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "a0" / "model.onnx"
    path.parent.mkdir()
    path.write_bytes(content)
    return path


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> Nvidia:
    trt, cuda = TensorRT(), Cuda()
    pretend(monkeypatch, trt=trt, cuda=cuda)
    return trt, cuda


def test_what_is_timed_is_what_is_validated(path: Path, nvidia: Nvidia) -> None:
    runtime = engines.load("tensorrt", {})
    runtime.compile(path)
    session = runtime.open(path, None)
    engine = hashlib.sha256(path.with_suffix(".engine").read_bytes()).hexdigest()[:8]
    assert (runtime.version, session.backend) == ("10.3.0.30", f"Orin, compute capability 8.7, engine {engine}")
    validated = open_session("tensorrt", path, options={"build": "yes"}, isolated=False)
    assert [output.name for output in session.outputs] == [spec.name for spec in validated.outputs]
    for seed in (0, 1):
        (answer,) = session.run(probe(seed=seed))
        np.testing.assert_array_equal(answer, validated.run(probe(seed=seed))["logits"])


def test_the_engine_of_this_device_is_taken_where_there_is_one(path: Path, nvidia: Nvidia) -> None:
    build_file(path)
    engines.load("tensorrt", {}).compile(path)
    assert nvidia[0].asked["builds"] == 1
    assert path.with_suffix(".engine").read_bytes().startswith(MAGIC)


def test_a_measurement_leaves_nothing_in_the_users_cache(path: Path, nvidia: Nvidia) -> None:
    runtime = engines.load("tensorrt", {})
    for _ in range(2):  # the same file with other threads is compiled once
        runtime.compile(path)
    assert nvidia[0].asked["builds"] == 1
    assert not engines_folder().exists()
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.engine", "model.onnx"]


def test_an_engine_that_others_could_have_written_is_not_run(path: Path, nvidia: Nvidia) -> None:
    """An engine is code. This one is built anew instead."""
    planted = build_file(path).path
    planted.write_bytes(MAGIC + b"somebody else's")
    planted.chmod(0o666)
    engines.load("tensorrt", {}).compile(path)
    assert path.with_suffix(".engine").read_bytes() == MAGIC + path.read_bytes()


def test_a_damaged_engine_in_the_cache_is_built_anew(path: Path, nvidia: Nvidia) -> None:
    """Or the same version of TensorRT, built otherwise: an engine's name does not tell."""
    build_file(path).path.write_bytes(b"cut")
    engines.load("tensorrt", {}).compile(path)
    assert path.with_suffix(".engine").read_bytes() == MAGIC + path.read_bytes()


def test_a_planted_engine_in_the_folder_is_not_run(path: Path, nvidia: Nvidia) -> None:
    planted = path.with_suffix(".engine")
    planted.write_bytes(MAGIC + b"somebody else's")
    planted.chmod(0o666)
    runtime = engines.load("tensorrt", {})
    with pytest.raises(Refused, match="the engine of the file could have been written by another user"):
        runtime.open(path, None)
    runtime.compile(path)
    assert planted.read_bytes() == MAGIC + path.read_bytes()
    assert planted.stat().st_mode & 0o022 == 0


@pytest.mark.parametrize("says", ["parser: no such operation", "Could not find any implementation for node stem.0."])
def test_a_file_tensorrt_refuses_is_one_sentence(says: str, path: Path, nvidia: Nvidia) -> None:
    nvidia[0].says = says
    with pytest.raises(Refused, match=f"^TensorRT cannot (read|build) the file: .*{re.escape(says)}$"):
        engines.load("tensorrt", {}).compile(path)
    assert not path.with_suffix(".engine").exists()


def test_what_is_missing_is_one_sentence(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for trt, cuda, sentence in (
        (None, Cuda(), "TensorRT is not installed here: on a Jetson it comes with JetPack"),
        (TensorRT("8.6.2"), Cuda(), "TensorRT 8.6.2 is too old"),
        (TensorRT(), None, "there is no NVIDIA driver here"),
        (TensorRT(), Cuda(gpu=None), "CUDA failed: CUDA_ERROR_NO_DEVICE in cuInit"),
    ):
        pretend(monkeypatch, trt=trt, cuda=cuda)
        with pytest.raises(Refused, match=sentence):
            engines.load("tensorrt", {})


def test_a_full_gpu_and_a_damaged_engine_are_refusals(path: Path, nvidia: Nvidia) -> None:
    runtime = engines.load("tensorrt", {})
    with pytest.raises(Refused, match="was not compiled"):
        runtime.open(path, None)
    runtime.compile(path)
    nvidia[1].full = True
    with pytest.raises(Refused, match="CUDA_ERROR_OUT_OF_MEMORY"):
        runtime.open(path, None)
    path.with_suffix(".engine").write_bytes(b"cut")
    with pytest.raises(Refused, match="cannot open the engine"):
        runtime.open(path, None)


# The whole way, through the real command and the real runner, in processes that find the stand-ins.

SITE = """
import ctypes, os, sys
if os.environ.get("PRETENDED_NVIDIA"):
    sys.path.append({tests!r})
    from pretended_nvidia import Cuda, TensorRT
    stand_in, real = Cuda(), ctypes.CDLL
    class CDLL(real):
        def __new__(cls, name=None, *a, **k):
            return stand_in if name == "libcuda.so.1" else super().__new__(cls)
    ctypes.CDLL = CDLL
    sys.modules["tensorrt"] = TensorRT(says=os.environ["PRETENDED_NVIDIA"].partition(":")[2])
"""


@pytest.fixture
def exported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """Two files for TensorRT and one for ONNX Runtime, on a machine whose Python finds the stand-ins."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(textwrap.dedent(SITE).format(tests=str(ROOT / "tests/support")))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(site), os.environ.get("PYTHONPATH")))))
    monkeypatch.setenv("PRETENDED_NVIDIA", "yes")
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))
    out, files = tmp_path / "out", {}
    for target, precision in (("tensorrt", "fp32"), ("tensorrt", "fp16"), ("onnx", "fp32")):
        words = ["export", "test_convnext2", "-t", target, "--precision", precision, "--weights", "random"]
        assert cli.run([*words, "--image-size", "64", "--out", str(out)]) == 0
        suffix = SUFFIX if target == "tensorrt" else ".onnx"
        files[f"{target}-{precision}"] = next(out.glob(f"*-{precision}{suffix}"))
    return files


def test_bench_times_engines_beside_everything_else(exported: dict[str, Path]) -> None:
    told: list[At] = []
    result = benchmark(list(exported.values()), runs=6, rounds=2, memory=True, on_progress=told.append)
    (device,) = result.devices
    assert [m.error for m in device.measured] == [None] * 3
    assert all(m.model_summary and m.model_summary.samples == 6 and m.end_to_end_summary for m in device.measured)
    engine = device.measured[0]
    assert (engine.identity.runtime, engine.identity.runtime_version) == ("tensorrt", "10.3.0.30")
    assert str(engine.backend).startswith("Orin, compute capability 8.7, engine ")
    assert {(r.of, r.against) for r in device.ratios} >= {("a1", "a0")}
    doing = list(dict.fromkeys(at.doing for at in told))
    compiled = [text for text in doing if text.startswith("compiling ")]
    assert compiled == [f"compiling {exported[key].name}" for key in ("tensorrt-fp32", "tensorrt-fp16")]
    assert doing[:2] == compiled  # before anything else is measured


def test_one_that_cannot_be_compiled_stops_no_other(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("PRETENDED_NVIDIA", "yes:Could not find any implementation for node stem.0.")
    engine, plain = exported["tensorrt-fp32"], exported["onnx-fp32"]
    words = ["bench", str(engine), str(plain), "--runs", "2", "--rounds", "2", "--json", str(tmp_path / "b.json")]
    assert cli.run(words) == 2
    (device,) = read_json((tmp_path / "b.json").read_text()).devices
    first, second = device.measured
    assert "TensorRT cannot build the file: Could not find any implementation for node stem.0." in str(first.error)
    assert second.error is None and second.model_summary is not None


def test_a_file_that_cannot_be_compiled_is_tried_once(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With several numbers of threads it is several artifacts, and would be minutes each time."""
    monkeypatch.setenv("PRETENDED_NVIDIA", "yes:Could not find any implementation for node stem.0.")
    told: list[At] = []
    plain = exported["onnx-fp32"]
    files, threads = [exported["tensorrt-fp32"], plain], (1, 2)
    result = benchmark(files, threads=threads, runs=2, rounds=1, memory=False, on_progress=told.append)
    errors = [m.error for m in result.devices[0].measured]
    assert errors[0] == errors[1] is not None and errors[2:] == [None, None]
    assert sum(at.doing.startswith("compiling") for at in told) == 1


def test_what_no_runtime_foresees_is_told_in_its_own_words(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PRETENDED_NVIDIA", "yes:MemoryError")
    (device,) = benchmark(list(exported.values()), runs=2, rounds=1, memory=False).devices
    assert device.measured[0].error == "compiling failed: not a byte left"


def test_a_machine_without_tensorrt_says_so_before_anything_runs(
    exported: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("PRETENDED_NVIDIA")
    capfd.readouterr()
    assert cli.run(["bench", str(exported["tensorrt-fp32"]), "--runs", "2"]) == 2
    (line,) = [text for text in capfd.readouterr().err.splitlines() if text.startswith("error")]
    assert "cannot measure: tensorrt: TensorRT is not installed here: on a Jetson it comes with JetPack" in line


def test_tensorrt_has_no_options_to_choose(exported: dict[str, Path], capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert cli.run(["bench", str(exported["tensorrt-fp32"]), "--runtime", "tensorrt:build=yes"]) == 2
    assert "tensorrt has no options" in capfd.readouterr().err
