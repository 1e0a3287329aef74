"""The TFLite runtime: which interpreter runs, what it is asked for, and what it says when a file is no good."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from opening import open_tflite as open_session

from edgecvx.board.engines.tflite import chosen
from edgecvx.errors import RuntimeFailedError, RuntimeUnavailableError, UsageError
from edgecvx.export.tflite.schema import load_schema
from edgecvx.export.tflite.writer import Writer, pack
from edgecvx.runtimes import files
from edgecvx.runtimes.engine import version
from edgecvx.spec import TensorSpec


def doubling(shape: tuple[int, ...] = (1, 2, 2, 3)) -> bytes:
    """``y = x + x``."""
    writer = Writer()
    x, y = writer.tensor("x", shape), writer.tensor("y", shape)
    writer.operator("ADD", [x, x], [y], writer.schema.AddOptionsT())
    return writer.finish({"x": x}, {"y": y}, "for tests")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "doubling.tflite"
    file.write_bytes(doubling())
    return file


@pytest.mark.parametrize("delegate", ["xnnpack", "none"])
def test_a_session_describes_its_file_and_runs_it(path: Path, delegate: str, capfd: pytest.CaptureFixture[str]) -> None:
    session = open_session(path, threads=1, options={"delegate": delegate})
    x = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    assert session.inputs == (TensorSpec(name="x", shape=(1, 2, 2, 3), dtype="float32", layout="NHWC"),)
    assert [s.name for s in session.outputs] == ["y"]
    first = session.run(x)["y"]
    session.run(x + 1)
    np.testing.assert_array_equal(first, 2 * x, err_msg="a later run must not write into an earlier result")
    session.close()
    assert capfd.readouterr() == ("", "")  # the delegate's banner is not the user's business
    with pytest.raises(RuntimeFailedError, match="is closed"):
        session.run(x)


@pytest.mark.parametrize(
    "batch", [np.zeros((1, 3, 2, 2), np.float32), np.zeros((1, 2, 2, 3), np.uint8), np.zeros((2, 2, 2, 3), np.float32)]
)
def test_a_batch_that_does_not_fit_is_refused(path: Path, batch: Any) -> None:
    with pytest.raises(RuntimeFailedError, match=r"takes float32 \[1, 2, 2, 3\] in NHWC, got"):
        open_session(path).run(batch)


def test_vectors_pass_and_other_ranks_do_not(path: Path) -> None:
    path.write_bytes(doubling((1, 5)))
    assert open_session(path).outputs[0].layout == "NC"
    path.write_bytes(doubling((1, 2, 3)))
    with pytest.raises(RuntimeFailedError, match=r"has shape \[1, 2, 3\]"):
        open_session(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delegat": "none"}, "unknown option of tflite 'delegat': did you mean delegate"),
        ({"delegate": "gpu"}, "unknown delegate 'gpu': known: xnnpack, none"),
        ({"interpreter": "litert"}, "unknown interpreter 'litert'"),
    ],
)
def test_options_are_known_or_refused(path: Path, options: dict[str, str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        open_session(path, options=options)


def test_threads_are_positive(path: Path) -> None:
    with pytest.raises(UsageError, match="0 threads"):
        open_session(path, threads=0)


def test_a_damaged_file_never_reaches_native_code(path: Path) -> None:
    content = path.read_bytes()
    for damaged in (b"", b"not a model", content[: len(content) // 2], content[:8] + b"\xff" * (len(content) - 8)):
        path.write_bytes(damaged)
        with pytest.raises(
            RuntimeFailedError, match=r"doubling\.tflite: (not a TFLite file|this TFLite file is damaged)"
        ):
            open_session(path)
    with pytest.raises(RuntimeFailedError, match="cannot be read"):
        open_session(path.with_name("missing.tflite"))


def test_what_the_interpreter_refuses_is_one_sentence(path: Path) -> None:
    """An operator of a version that this interpreter does not have: consistent, and still not runnable."""
    model = load_schema().ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    model.operatorCodes[0].version = 99
    path.write_bytes(pack(model))
    with pytest.raises(RuntimeFailedError, match=r"TFLite cannot open doubling\.tflite: .*version '99'") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)


def test_the_first_interpreter_that_is_here_serves(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """LiteRT, else tflite-runtime, else TensorFlow; one that is asked for by name is never replaced."""
    here = {"tensorflow"}
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if name in here else None)
    assert chosen({}) == "tensorflow"
    here |= {"tflite_runtime"}
    assert chosen({}) == "tflite_runtime"
    here |= {"ai_edge_litert"}
    assert chosen({}) == "ai_edge_litert"
    assert version("tflite").startswith("ai-edge-litert ")
    here.clear()
    with pytest.raises(RuntimeUnavailableError, match=r"edgecvx\[tflite\]"):
        version("tflite")
    with pytest.raises(
        RuntimeUnavailableError, match="tflite-runtime is not installed here: pip install tflite-runtime"
    ):
        open_session(path, options={"interpreter": "tflite_runtime"})


def test_without_the_schema_at_least_the_first_bytes_are_checked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A board with tflite-runtime alone has no schema."""

    def absent(path: Path) -> None:
        raise RuntimeUnavailableError("no schema")

    monkeypatch.setattr(files, "read_file", absent)
    assert open_session(path).inputs
    path.write_bytes(b"not a model")
    with pytest.raises(RuntimeFailedError, match="not a TFLite file"):
        open_session(path)


@pytest.mark.skipif(importlib.util.find_spec("tflite_runtime") is None, reason="tflite-runtime is not installed")
def test_tflite_runtime_opens_our_files(path: Path) -> None:
    session = open_session(path, options={"interpreter": "tflite_runtime"})
    np.testing.assert_array_equal(session.run(np.ones((1, 2, 2, 3), np.float32))["y"], 2.0)
