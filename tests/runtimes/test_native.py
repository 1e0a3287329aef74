"""Files of the native engine on this machine: read before native code sees them, and run with a library."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from ecvx_networks import image_of, random_file
from native_artifacts import copied
from opening import open_native
from PIL import Image
from support import ROOT

import edgecvx
from edgecvx.board.engines import native as engine
from edgecvx.board.platforms import library_beside
from edgecvx.data import demo
from edgecvx.errors import ArtifactError, RuntimeFailedError, RuntimeUnavailableError, UsageError, missing_package
from edgecvx.export.native.parser import parse
from edgecvx.proof.metrics import least_sqnr
from edgecvx.runtimes import availability, native, open_session
from edgecvx.spec import Task

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from small_classifier import Exported

PLATFORM = engine.this_platform()
ABSENT = (
    *("torch", "onnx", "onnx_ir", "onnxruntime", "openvino", "ai_edge_litert", "coremltools", "tensorflow", "ziglang"),
    *("safetensors", "scipy", "jinja2"),
)
"""What is on no board."""


@pytest.fixture
def model(native_library: bytes, tmp_path: Path) -> Path:
    """A random network, with the engine beside it."""
    path = tmp_path / "model.ecvx"
    path.write_bytes(random_file(5, task=Task.EMBED))
    library = library_beside(path, PLATFORM)
    library.write_bytes(native_library)
    library.chmod(0o644)
    return path


def logits(artifact: Path, pictures: int = 200, **how: Any) -> NDArray[Any]:
    """What an artifact answers to drawn pictures."""
    drawn = [Image.fromarray(demo.picture(index, size=64)[0]) for index in range(pictures)]
    with edgecvx.load(artifact, **how) as opened:
        return opened.run_pictures(drawn)["logits"]


def test_a_loaded_artifact_sees_what_the_network_sees(native_classifier: Exported, small_classifier: Exported) -> None:
    """Random weights keep 19 dB in INT8, in which close answers change places: 85 to 88 of 100 agree."""
    found, fp32 = logits(native_classifier.path), logits(small_classifier.path)
    ours, theirs = found.argmax(axis=1), fp32.argmax(axis=1)
    assert len(set(theirs)) > 3, "a network that says the same of everything proves nothing"
    sqnr = least_sqnr([(found, fp32)])
    assert sqnr is not None and sqnr >= 18.5
    assert np.mean(ours == theirs) >= 0.8  # 85% less two standard deviations of 200 pictures
    portable = logits(native_classifier.path, pictures=24, options={"kernels": "portable"}, threads=2)
    assert list(portable.argmax(axis=1)) == list(ours[:24])


def test_in_a_process_of_its_own_it_answers_and_tells_as_in_this_one(model: Path) -> None:
    batch = image_of(parse(model.read_bytes()))
    here = open_native(model, threads=1)
    with contextlib.closing(open_session("native", model, threads=1)) as session:
        assert session.run(batch).keys() == here.run(batch).keys()
        for name, array in here.run(batch).items():
            np.testing.assert_array_equal(session.run(batch)[name], array)
        assert getattr(session, "memory", None) == here.memory
    assert here.backend == next(engine.Library(library_beside(model, PLATFORM)).kernels())
    here.close()
    here.close()
    with pytest.raises(RuntimeFailedError, match=r"model\.ecvx is closed; open it again"):
        here.run(batch)


@pytest.mark.parametrize("where", ["begin", "middle", "cut", "empty"])
def test_a_damaged_file_never_reaches_native_code(model: Path, monkeypatch: pytest.MonkeyPatch, where: str) -> None:
    def loaded(path: Path) -> None:
        pytest.fail("the library was loaded")

    monkeypatch.setattr(engine, "Library", loaded)
    content = model.read_bytes()
    at = {"begin": 3, "middle": len(content) // 2}.get(where, 0)
    changed = content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]
    model.write_bytes({"cut": content[: len(content) // 2], "empty": b""}.get(where, changed))
    with pytest.raises(RuntimeFailedError, match=r"model\.ecvx cannot be read as a file of the native engine: "):
        open_native(model)


def test_a_missing_file_is_no_file(model: Path) -> None:
    with pytest.raises(RuntimeFailedError, match=r"there is no file other\.ecvx"):
        open_native(model.with_name("other.ecvx"))


def test_options_are_known_or_refused(model: Path) -> None:
    with pytest.raises(UsageError, match="unknown option of native 'kernel': did you mean kernels"):
        open_native(model, options={"kernel": "avx2"})
    with pytest.raises(UsageError, match="unknown set of kernels for this processor 'portible': did you mean portable"):
        open_native(model, options={"kernels": "portible"})


# The library is code.


def test_a_library_that_was_tampered_with_is_not_the_one_that_was_proved(
    native_classifier: Exported, tmp_path: Path
) -> None:
    artifact = copied(native_classifier.path, tmp_path)
    library = library_beside(artifact, PLATFORM)
    content = bytearray(library.read_bytes())
    content[-1] ^= 1
    library.write_bytes(content)
    with pytest.raises(ArtifactError, match=rf"{PLATFORM}\S+ has another SHA-256: it is not the file that was checked"):
        edgecvx.load(artifact)
    library.unlink()
    with pytest.raises(ArtifactError, match=rf"{PLATFORM}\S+ is missing beside its manifest: copy it too, or"):
        edgecvx.load(artifact)


def test_a_link_is_no_library(model: Path) -> None:
    library = library_beside(model, PLATFORM)
    library.rename(model.with_name("elsewhere"))
    library.symlink_to(model.with_name("elsewhere"))
    with pytest.raises(RuntimeFailedError, match=r"is a link: copy the file itself beside model\.ecvx"):
        open_native(model)


# Where no library for this machine lies beside the model.


@pytest.fixture
def alone(model: Path) -> Path:
    """As an artifact lies here that was exported for other machines."""
    library_beside(model, PLATFORM).unlink()
    return model


def test_a_file_for_other_machines_runs_where_it_can_be_built(alone: Path) -> None:
    """So it can be proved and validated on the machine that writes it."""
    content = alone.read_bytes()
    session = open_native(alone)
    (array,) = list(session.run(image_of(parse(content))).values())[:1]
    assert np.ptp(array) > 0
    assert [path.name for path in alone.parent.iterdir()] == ["model.ecvx"], "nothing is put beside a user's file"


def test_where_it_cannot_be_built_a_sentence_says_what_to_do(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_zig(platform: Any) -> bytes:
        raise missing_package("ziglang, which builds the native engine,", "native")

    monkeypatch.setattr(native, "build", no_zig)
    with pytest.raises(
        RuntimeUnavailableError,
        match=rf"model\.ecvx has no library for this machine .*--platform {PLATFORM}, or pip install 'edgecvx\[nat",
    ):
        open_native(alone)


# Whether it is here.


def test_it_is_here_wherever_there_is_a_library_for_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is installed with edgecvx: a file brings its engine."""
    assert availability("native").version == f"edgecvx {edgecvx.__version__}"
    monkeypatch.setattr(engine, "machine", lambda: ("linux", "riscv64", 64, False))
    found = availability("native")
    assert found.version is None
    assert "not built for this machine (linux, riscv64, 64 bits)" in found.hint


def test_the_core_package_is_all_it_takes(native_classifier: Exported, tmp_path: Path) -> None:
    """As on a board: no framework, no compiler, and the manifest's hashes checked as everywhere."""
    Image.fromarray(demo.picture(0, size=64)[0]).save(tmp_path / "picture.png")
    code = (
        f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r})); import edgecvx; "
        "opened = edgecvx.load(sys.argv[1], isolated=False); "
        "print(opened.predict([sys.argv[2]], top=1)[0][0].label, opened.session.backend)"
    )
    words = [sys.executable, "-c", code, str(native_classifier.path), str(tmp_path / "picture.png")]
    done = subprocess.run(
        words, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with edgecvx.load(native_classifier.path) as opened:
        ((first,),) = opened.predict([tmp_path / "picture.png"], top=1)
    assert done.stdout.split()[:-1] == first.label.split()
