"""The TensorRT session and its engines, against stand-ins that hold what is asked of them to NVIDIA's manual.

None of this ran on hardware; what is proved is that the right calls are made, in the right order, and what is said
where something is missing.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from lowerings import canonical, written
from pretended_nvidia import MAGIC, Cuda, TensorRT, _Config, pretend, trtexec
from support import network, probe

pytest.importorskip("onnxruntime")

from opening import open_onnxruntime
from opening import open_tensorrt as open_session

from edgecvx.board.engines.nvidia import Device
from edgecvx.board.engines.tensorrt import EngineKey, engines_folder, short
from edgecvx.errors import ArtifactError, RuntimeFailedError, RuntimeUnavailableError, UsageError
from edgecvx.export.base import Options
from edgecvx.export.tensorrt.lower import lower
from edgecvx.runtimes import availability, tensorrt_engine
from edgecvx.runtimes.engine import version
from edgecvx.runtimes.tensorrt_engine import TrtexecBuilder, build_file
from edgecvx.spec import PreprocessSpec, Task


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return written(lower(canonical(network()), Options()), tmp_path_factory.mktemp("trt")).read_bytes()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def path(content: bytes, tmp_path: Path) -> Path:
    path = tmp_path / "model.tensorrt.onnx"
    path.write_bytes(content)
    return path


@pytest.fixture
def nvidia(monkeypatch: pytest.MonkeyPatch) -> tuple[TensorRT, Cuda]:
    trt, cuda = TensorRT(), Cuda()
    pretend(monkeypatch, trt=trt, cuda=cuda)
    return trt, cuda


def test_an_engine_answers_as_its_file_does(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    build_file(path)
    session, plain = open_session(path), open_onnxruntime(path, threads=1)
    assert (session.inputs, session.outputs) == (plain.inputs, plain.outputs)
    for seed in (0, 1):  # the memory on the GPU is used again
        x = probe(seed=seed)
        np.testing.assert_array_equal(session.run(x)["logits"], plain.run(x)["logits"])


def test_several_outputs_and_bytes_in(tmp_path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    graph = canonical(network(), task=Task.FEATURES, preprocess=PreprocessSpec(size=64))
    path = written(lower(graph, Options()), tmp_path)
    build_file(path)
    x = np.random.default_rng(0).integers(0, 256, (1, 3, 64, 64), np.uint8)
    actual, expected = open_session(path).run(x), open_onnxruntime(path, threads=1).run(x)
    assert list(actual) == [f"feature{i}" for i in range(4)]
    for name, array in expected.items():
        np.testing.assert_array_equal(actual[name], array)


def test_results_are_the_callers(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    session = open_session(path, options={"build": "yes"})
    first = session.run(probe(seed=0))["logits"]
    kept = first.copy()
    session.run(probe(seed=1))
    np.testing.assert_array_equal(first, kept)


def test_everything_on_the_gpu_is_freed_once(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    _, cuda = nvidia
    session = open_session(path, options={"build": "yes"})
    session.run(probe())
    assert len(cuda.memory) == 2 and cuda.streams
    session.close()
    session.close()
    assert not cuda.memory and not cuda.streams
    with pytest.raises(RuntimeFailedError, match="closed"):
        session.run(probe())


def test_another_thread_may_run_it(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    """A camera's thread opens, another one runs: CUDA's context belongs to a thread."""
    session = open_session(path, options={"build": "yes"})
    with ThreadPoolExecutor(1) as pool:
        there = pool.submit(session.run, probe()).result()["logits"]
        np.testing.assert_array_equal(there, session.run(probe())["logits"])
        pool.submit(session.close).result()


def test_a_batch_that_does_not_fit_is_refused(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    session = open_session(path, options={"build": "yes"})
    with pytest.raises(RuntimeFailedError, match="'image' takes float32"):
        session.run(probe(2))


def test_a_full_gpu_is_one_sentence(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    _, cuda = nvidia
    build_file(path)
    cuda.full = True
    with pytest.raises(RuntimeFailedError, match="CUDA failed: CUDA_ERROR_OUT_OF_MEMORY in cuMemAlloc_v2"):
        open_session(path)
    assert not cuda.streams


# Engines and their cache


def test_no_engine_yet_names_the_command(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    with pytest.raises(RuntimeFailedError, match=r"no engine yet for Orin and TensorRT 10\.3\.0: run edgecvx build"):
        open_session(path)
    assert not engines_folder().exists()


def test_an_engine_belongs_to_file_tensorrt_and_gpu(
    path: Path, nvidia: tuple[TensorRT, Cuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    trt, cuda = nvidia
    first = build_file(path)
    assert not first.cached and first.path.parent == engines_folder()
    assert first.path.name.endswith("-trt10.3.0-orin-sm87.engine")
    assert build_file(path).cached and trt.asked["builds"] == 1
    cuda.gpu = "NVIDIA GeForce RTX 3080"
    assert not build_file(path).cached
    pretend(monkeypatch, trt=TensorRT("10.7.0"), cuda=cuda)
    assert not build_file(path).cached
    assert len(list(engines_folder().glob("*.engine"))) == 3


def test_an_engine_that_came_with_a_file_is_not_run(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    """An engine is code; whoever made the file may have put anything beside it."""
    engine = build_file(path)
    engine.path.rename(path.with_name(engine.path.name))
    with pytest.raises(RuntimeFailedError, match="no engine yet"):
        open_session(path)


def test_an_engine_that_others_could_have_written_is_not_run(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    """A cache in a shared folder: whoever may write it would run code as us."""
    before = os.umask(0o002)
    try:
        engine = build_file(path).path
    finally:
        os.umask(before)
    open_session(path).close()  # ours is for its owner to write alone, whatever the umask
    for mode in (0o664, 0o646):
        engine.chmod(mode)
        with pytest.raises(RuntimeFailedError, match=r"could have been written by another user.*delete it"):
            open_session(path)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file to somebody else")
def test_an_engine_of_somebody_else_is_not_run(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    os.chown(build_file(path).path, 12345, 12345)
    with pytest.raises(RuntimeFailedError, match="could have been written by another user"):
        open_session(path)


def test_float32_is_computed_in_float32(
    path: Path, nvidia: tuple[TensorRT, Cuda], monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorRT's own default is TF32, whose products have ten bits of mantissa: another precision, untold."""
    build_file(path)
    monkeypatch.setattr(_Config, "clear_flag", lambda config, flag: None)
    with pytest.raises(AssertionError, match="ten bits of mantissa"):
        build_file(path, folder=path.parent / "others")


def test_timings_are_kept_for_the_next_build(path: Path, content: bytes, nvidia: tuple[TensorRT, Cuda]) -> None:
    trt, _ = nvidia
    folder = engines_folder()
    build_file(path, workspace=512)
    assert trt.asked == {"builds": 1, "timings": b"", "workspace": 512 << 20}
    other = path.with_name("other.onnx")
    other.write_bytes(content)
    engine = build_file(other, folder=folder)
    assert engine.cached  # the same content: no second build
    (folder / engine.key.name).unlink()
    build_file(other, folder=folder)
    assert trt.asked["timings"] == b"timings"


def test_damaged_timings_are_begun_anew(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    trt, _ = nvidia
    first = build_file(path)
    first.path.unlink()
    timings = first.path.with_name(f"{first.key.place}.timing")
    timings.write_bytes(b"of another TensorRT")
    build_file(path)
    assert trt.asked["timings"] == b"" and timings.read_bytes() == b"timings"


def test_timings_that_others_could_have_written_are_begun_anew(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    trt, _ = nvidia
    first = build_file(path)
    first.path.unlink()
    first.path.with_name(f"{first.key.place}.timing").chmod(0o666)
    build_file(path)
    assert trt.asked["timings"] == b""


def test_a_build_that_fails_leaves_nothing(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, trt=TensorRT(says="no implementation\nfor node stem.0"), cuda=Cuda())
    with pytest.raises(
        RuntimeFailedError, match=r"cannot build model\.tensorrt\.onnx: no implementation for node stem\.0"
    ):
        build_file(path)
    pretend(monkeypatch, trt=TensorRT(says="the parser knows no Gelu"), cuda=Cuda())
    with pytest.raises(RuntimeFailedError, match=r"cannot read .*In node 0: the parser knows no Gelu"):
        build_file(path)
    assert not engines_folder().exists()


def test_a_damaged_engine_is_one_sentence(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    build_file(path).path.write_bytes(b"half a plan")
    with pytest.raises(ArtifactError, match="delete it and run edgecvx build-engine again"):
        open_session(path)


def test_versions_read_alike() -> None:
    """The Python API and trtexec name the same TensorRT, or an engine of one would not be found by the other."""
    assert [short(v) for v in ("10.3.0.30", "10.3.0.post1", "10.16.1.11")] == ["10.3.0", "10.3.0", "10.16.1"]
    assert [tensorrt_engine._version_of(n) for n in (100300, 101601, 110400, 8602)] == [
        "10.3.0",
        "10.16.1",
        "11.4.0",
        "8.6.2",
    ]


def test_a_gpus_name_fits_into_a_file_name() -> None:
    key = EngineKey(sha256="a" * 64, version="10.3.0", device=Device(name="NVIDIA RTX/6000 (Ada)", capability="8.9"))
    assert key.name == f"{'a' * 32}-trt10.3.0-nvidia-rtx-6000-ada-sm89.engine"


# What is missing


def test_tensorrt_is_not_installed_here(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, trt=None, cuda=None)
    assert availability("tensorrt").version is None
    with pytest.raises(RuntimeUnavailableError, match=r"comes with JetPack .*edgecvx\[tensorrt\]"):
        open_session(path)


def test_tensorrt_is_too_old(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, trt=TensorRT("8.6.2"), cuda=Cuda())
    with pytest.raises(RuntimeUnavailableError, match=r"8\.6\.2 is too old.*JetPack 6\.1"):
        version("tensorrt")


def test_there_is_no_driver(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, trt=TensorRT(), cuda=None)
    with pytest.raises(RuntimeUnavailableError, match=r"no NVIDIA driver here \(libcuda\.so\.1\)"):
        open_session(path)


def test_there_is_no_gpu(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda(gpu=None))
    with pytest.raises(RuntimeFailedError, match="CUDA_ERROR_NO_DEVICE"):
        open_session(path)


def test_unknown_options_are_refused(path: Path, nvidia: tuple[TensorRT, Cuda]) -> None:
    with pytest.raises(UsageError, match="did you mean engines"):
        open_session(path, options={"engine": "x"})
    with pytest.raises(UsageError, match="unknown build 'maybe': did you mean yes"):
        open_session(path, options={"build": "maybe"})


# trtexec


def test_trtexec_is_asked_for_a_strongly_typed_network(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    pretend(monkeypatch, trt=None, cuda=Cuda())
    program = trtexec(tmp_path / "bin")
    engine = build_file(path, builder=TrtexecBuilder(program), workspace=256)
    assert engine.builder == "trtexec" and engine.key.version == "10.3.0"
    assert engine.path.read_bytes() == MAGIC + path.read_bytes()
    asked = json.loads((program.parent / "asked.json").read_text())
    assert {"stronglyTyped", "noTF32", "skipInference"} <= set(asked) and asked["onnx"] == str(path)
    assert asked["memPoolSize"] == "workspace:256"
    engine.path.unlink()
    build_file(path, builder=TrtexecBuilder(program))
    assert engine.path.with_name(f"{engine.key.place}.timing").read_bytes() == b"timings+"


def test_an_engine_of_trtexec_is_found_by_the_session(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend(monkeypatch, trt=TensorRT(), cuda=Cuda())
    build_file(path, builder=TrtexecBuilder(trtexec(tmp_path / "bin")))
    assert open_session(path).run(probe())["logits"].shape == (1, 10)


def test_trtexec_that_fails_says_why(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, trt=None, cuda=Cuda())
    with pytest.raises(RuntimeFailedError, match=r"Could not find any implementation for node stem\.0"):
        build_file(path, builder=TrtexecBuilder(trtexec(tmp_path / "bin", fails=True)))
    with pytest.raises(RuntimeUnavailableError, match=r"8\.6\.2 is too old"):
        TrtexecBuilder(trtexec(tmp_path / "old", version="8602"))
    assert not engines_folder().exists()
