"""A runtime that dies, hangs or chatters in its own process is one clear sentence in ours."""

from __future__ import annotations

import os
import sys
import textwrap
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE

from edgecvx.errors import RuntimeFailedError, RuntimeUnavailableError, UsageError
from edgecvx.runtimes import RUNTIMES, open_session
from edgecvx.runtimes.isolated import IsolatedSession

RUNTIME = '''
"""A runtime whose behaviour is the content of the file it opens."""
import os, signal, sys, time
import numpy as np
from edgecvx.errors import RuntimeFailedError, RuntimeUnavailableError
from edgecvx.spec import TensorSpec

class Doubling:
    inputs = (TensorSpec(name="image", shape=(2, 3), dtype="float32", layout="NC"),)
    outputs = (TensorSpec(name="double", shape=(2, 3), dtype="float32", layout="NC"),)
    def __init__(self, behaviour): self.behaviour = behaviour
    def run(self, batch):
        act(self.behaviour, "run")
        return {"double": batch * 2, "threads": np.array([1, 2], np.int64)}
    def close(self): pass

def act(behaviour, when):
    if behaviour == f"{when}: segfault": os.kill(os.getpid(), signal.SIGSEGV)
    if behaviour == f"{when}: abort":
        os.write(2, b"native assertion failed: tensor.cc:12\\n"); os.abort()
    if behaviour == f"{when}: exit": os._exit(3)
    if behaviour == f"{when}: hang": time.sleep(3600)
    if behaviour == f"{when}: chatter": os.write(1, b"INFO: a banner on standard output\\n" * 1000)
    if behaviour == f"{when}: flood": os.write(2, b"INFO: every run is told at length\\n" * 50_000)
    if behaviour == f"{when}: refuse": raise RuntimeFailedError("the file is of version 9")
    if behaviour == f"{when}: missing": raise RuntimeUnavailableError("not installed here")

def open_engine(runtime, path, *, threads, options):
    behaviour = path.read_text()
    act(behaviour, "open")
    return Doubling(behaviour)
'''


@pytest.fixture
def behave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    """Makes a session whose runtime does what it is told."""
    (tmp_path / "fake_runtime.py").write_text(textwrap.dedent(RUNTIME))
    (tmp_path / "sitecustomize.py").write_text(
        "import edgecvx.runtimes, fake_runtime\n"
        "edgecvx.runtimes.RUNTIMES['fake'] = 'fake'\nedgecvx.runtimes.open_engine = fake_runtime.open_engine\n"
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    monkeypatch.setitem(RUNTIMES, "fake", "fake")

    def open_it(behaviour: str) -> IsolatedSession:
        path = tmp_path / "model.bin"
        path.write_text(behaviour)
        return IsolatedSession("fake", path, threads=1, options={}, patience=PATIENCE)

    return open_it


BATCH = np.arange(6, dtype=np.float32).reshape(2, 3)


def test_a_healthy_session_runs_as_often_as_it_is_asked(behave) -> None:  # type: ignore[no-untyped-def]
    with closing(behave("healthy")) as session:
        assert session.inputs[0].name == "image"
        assert session.outputs[0].name == "double"
        for factor in (1, 2):
            outputs = session.run(BATCH * factor)
            np.testing.assert_array_equal(outputs["double"], BATCH * factor * 2)
            assert outputs["threads"].dtype == np.int64


def test_a_closed_session_says_so(behave) -> None:  # type: ignore[no-untyped-def]
    with closing(behave("healthy")) as session:
        pass
    with pytest.raises(RuntimeFailedError, match="session is closed"):
        session.run(BATCH)


def test_what_native_code_prints_does_not_break_the_messages(behave) -> None:  # type: ignore[no-untyped-def]
    for behaviour in ("open: chatter", "run: chatter"):
        with closing(behave(behaviour)) as session:
            np.testing.assert_array_equal(session.run(BATCH)["double"], BATCH * 2)


def test_what_native_code_says_for_months_does_not_fill_the_disk(behave) -> None:  # type: ignore[no-untyped-def]
    """Each run says 1.7 MB; what was said before the run is forgotten, and leaves no hole of its size."""
    with closing(behave("run: flood")) as session:
        sizes = []
        for _ in range(4):
            session.run(BATCH)
            sizes.append(os.fstat(session._chatter.fileno()).st_size)
    assert sizes == [34 * 50_000] * 4


@pytest.mark.parametrize(
    ("behaviour", "says"),
    [
        ("open: segfault", "fake died with SIGSEGV while opening model.bin"),
        ("open: abort", r"died with SIGABRT while opening model.bin \(its last words: native assertion failed"),
        ("open: exit", "ended with exit code 3 while opening"),
        ("open: refuse", "the file is of version 9"),
    ],
)
def test_a_file_the_runtime_dies_on_is_one_sentence(behave, behaviour: str, says: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RuntimeFailedError, match=says) as caught:
        behave(behaviour)
    assert "\n" not in str(caught.value)


def test_a_missing_runtime_keeps_its_own_error(behave) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(RuntimeUnavailableError, match="not installed here"):
        behave("open: missing")


def test_dying_while_running_is_told_as_that(behave) -> None:  # type: ignore[no-untyped-def]
    with (
        closing(behave("run: segfault")) as session,
        pytest.raises(RuntimeFailedError, match=r"SIGSEGV while running model\.bin"),
    ):
        session.run(BATCH)


def test_a_hung_runtime_is_stopped(behave) -> None:  # type: ignore[no-untyped-def]
    session = behave("run: hang")
    session._patience = 1.5  # from here on: nobody knows how long a busy machine takes to start it
    with pytest.raises(RuntimeFailedError, match="gave no answer for 2 s while running"):
        session.run(BATCH)
    session.close()
    assert session._child.returncode is not None  # nothing is left running


def test_a_batch_that_does_not_fit_never_reaches_the_runtime(behave) -> None:  # type: ignore[no-untyped-def]
    with closing(behave("healthy")) as session:
        with pytest.raises(RuntimeFailedError, match=r"takes float32 \[2, 3\] in NC, got float64 \[2, 3\]"):
            session.run(BATCH.astype(np.float64))
        np.testing.assert_array_equal(session.run(BATCH)["double"], BATCH * 2)  # and the session lives on


def test_an_unknown_runtime_names_the_known(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="unknown runtime 'onnxruntme': did you mean onnxruntime"):
        open_session("onnxruntme", tmp_path)


def test_the_folder_the_user_stands_in_is_not_imported_from(behave, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    """A ``signal.py`` among somebody's own files is none of our business."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("json", "signal", "numpy"):
        (here / f"{name}.py").write_text("raise SystemExit('imported from the working directory')")
    monkeypatch.chdir(here)
    with closing(behave("well")) as session:
        assert session.outputs[0].name == "double"
