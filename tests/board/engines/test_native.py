"""The native engine through ctypes: what it answers, what is not loaded, and when a model is freed."""

from __future__ import annotations

import ctypes
import gc
import os
import sysconfig
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ecvx_networks import image_of, random_file
from ecvx_reference import answer
from numpy.typing import NDArray
from support import relative_error

from edgecvx.board import engines
from edgecvx.board.engines import native
from edgecvx.board.engines.base import Absent, Refused, UnknownOption
from edgecvx.board.engines.native import Library, NativeSession
from edgecvx.board.platforms import library_beside
from edgecvx.export.native.parser import parse
from edgecvx.spec import InputKind, Task

PLATFORM = native.this_platform()
ROUNDED = 0.06
"""Of the range: where a number lies between two steps of a grid, a last digit decides, and these networks are
narrow. That integers are exact is held elsewhere; here the way through ctypes is. Another picture is far away."""


@pytest.fixture
def put(native_library: bytes, tmp_path: Path) -> Any:
    """Puts a model and its library into a folder of their own."""

    def put(content: bytes, name: str = "model", library: bytes = native_library) -> Path:
        path = tmp_path / name / "model.ecvx"
        path.parent.mkdir()
        path.write_bytes(content)
        beside = library_beside(path, PLATFORM)
        beside.write_bytes(library)
        beside.chmod(0o644)
        return path

    return put


def batch_of(content: bytes, seed: int = 0) -> NDArray[Any]:
    """Pictures as a file takes them, as many as it was written for."""
    return image_of(parse(content), seed)


def opened(path: Path, threads: int | None = 1, **options: str) -> NativeSession:
    session = engines.load("native", options).open(path, threads)
    assert isinstance(session, NativeSession)
    return session


def run(path: Path, batch: NDArray[Any], threads: int | None = 1, **options: str) -> list[NDArray[Any]]:
    return list(opened(path, threads, **options).run(batch))


@pytest.mark.parametrize("task", Task, ids=lambda task: task.value)
@pytest.mark.parametrize("kind", InputKind, ids=lambda kind: kind.value)
def test_it_answers_what_its_file_says(put: Any, task: Task, kind: InputKind) -> None:
    content = random_file(3, task=task, input_kind=kind, classes=10, taps=0)
    session, batch = opened(put(content)), batch_of(content)
    (image,) = session.inputs
    assert (image.shape, image.layout, image.dtype) == (batch.shape, "NHWC", batch.dtype.name)
    assert {output.layout for output in session.outputs} == {"NHWC" if task is Task.FEATURES else "NC"}
    found = session.run(batch)
    assert [array.shape for array in found] == [output.shape for output in session.outputs]
    others = answer(content, batch_of(content, seed=1))
    for array, expected, other in zip(found, answer(content, batch), others, strict=True):
        assert relative_error(array, expected) < ROUNDED
        assert relative_error(array, other) > 4 * ROUNDED, "the answer to another picture is another one"


def test_inner_tensors_come_behind_the_answer(put: Any) -> None:
    content = random_file(4, task=Task.CLASSIFY, classes=10, taps=3)
    session, batch = opened(put(content)), batch_of(content)
    assert [output.name for output in session.outputs] == ["logits", *(tap.name for tap in parse(content).taps)]
    assert [output.layout for output in session.outputs] == ["NC", "NHWC", "NHWC", "NHWC"]
    for array, expected in zip(session.run(batch), answer(content, batch), strict=True):
        assert relative_error(array, expected) < ROUNDED


def test_an_answer_stays_what_it_was(put: Any) -> None:
    """The arrays are new ones with each run."""
    content = random_file(3, task=Task.EMBED)
    session = opened(put(content))
    kept = session.run(batch_of(content))[0]
    before = kept.copy()
    assert relative_error(session.run(batch_of(content, seed=1))[0], before) > ROUNDED
    np.testing.assert_array_equal(kept, before)


def test_threads_change_no_answer(put: Any) -> None:
    content = random_file(5, task=Task.FEATURES)
    path, batch = put(content), batch_of(content)
    one, two = run(path, batch, threads=1), run(path, batch, threads=2)
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)
    assert [opened(path, threads).threads for threads in (None, 2)] == [1, 2]


def test_every_set_of_kernels_of_this_machine_sees_the_same(put: Any) -> None:
    content = random_file(6, task=Task.CLASSIFY, classes=12)
    path, batch = put(content), batch_of(content)
    known = tuple(Library(library_beside(path, PLATFORM)).kernels())
    assert known[-1] == "portable"
    assert str(opened(path).backend).startswith(known[0]), "the best is what nobody asked for"
    answers = {name: run(path, batch, kernels=name)[0] for name in known}
    # avx2 has two forms: avx2wide where the sums of bytes would not fit.
    assert all(str(opened(path, kernels=name).backend).removesuffix("wide") == name for name in known)
    for found in answers.values():
        np.testing.assert_array_equal(found.argmax(axis=1), answers["portable"].argmax(axis=1))


def test_kernels_that_this_processor_has_not_are_named_with_those_it_has(put: Any) -> None:
    path = put(random_file(0))
    with pytest.raises(UnknownOption, match=r"no set of kernels for this processor 'mmx', only .*portable"):
        opened(path, kernels="mmx")


def test_it_tells_what_it_holds(put: Any) -> None:
    small, large = (opened(put(random_file(7, size=size), f"{size}")).memory for size in (32, 96))
    assert small is not None
    assert large is not None
    assert small["weights"] == large["weights"] > 0
    assert 0 < small["inner tensors"] < large["inner tensors"]


# What is refused.


def test_a_missing_library_is_a_sentence_with_what_to_do(put: Any) -> None:
    path = put(random_file(0))
    library_beside(path, PLATFORM).unlink()
    with pytest.raises(Refused, match=rf"no library for this machine .*: edgecvx export … --platform {PLATFORM}"):
        opened(path)


def test_a_library_for_another_processor_is_not_loaded(put: Any, native_library: bytes) -> None:
    """As on a board where the file of another machine was given this one's name."""
    foreign = bytearray(native_library)
    if native_library[:4] != b"\x7fELF":
        pytest.skip("the number of the processor is known of ELF files")
    foreign[18:20] = (0xB7 if native_library[18] != 0xB7 else 0x3E).to_bytes(2, "little")  # e_machine: AArch64, x86-64
    with pytest.raises(Refused, match=r"model\.\S+ cannot be loaded on this machine: ") as caught:
        opened(put(random_file(0), library=bytes(foreign)))
    assert "\n" not in str(caught.value) and str(Path.home()) not in str(caught.value)


def test_a_library_of_something_else_is_not_taken_for_the_engine(put: Any) -> None:
    found = sorted(Path(np.__file__).parent.rglob(f"*{sysconfig.get_config_var('EXT_SUFFIX')}"))
    with pytest.raises(Refused, match="is no library of the native engine: export the model again"):
        opened(put(random_file(0), library=found[0].read_bytes()))


def test_a_library_of_another_version_is_not_called(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "INTERFACE", 2)
    with pytest.raises(Refused, match="is version 1 of the native engine, and this edgecvx calls version 2"):
        opened(put(random_file(0)))


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
@pytest.mark.parametrize("mode", [0o664, 0o646])
def test_a_library_that_others_may_write_is_not_loaded(put: Any, mode: int) -> None:
    path = put(random_file(0))
    library_beside(path, PLATFORM).chmod(mode)
    with pytest.raises(Refused, match=r"other users may write model\.\S+, and a library is code: chmod go-w"):
        opened(path)


@pytest.mark.skipif(os.name != "posix", reason="rights are those of POSIX")
def test_another_users_library_is_not_loaded(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(random_file(0))
    library = library_beside(path, PLATFORM)
    if os.geteuid() == 0:
        os.chown(library, 4711, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    with pytest.raises(Refused, match="is another user's, and a library is code"):
        opened(path)


def test_a_library_that_was_replaced_is_noticed(put: Any, native_library: bytes) -> None:
    """The system gives a program the library it has loaded by that path, whatever lies there now."""
    path = put(random_file(0))
    opened(path)
    library = library_beside(path, PLATFORM)
    library.unlink()
    library.write_bytes(native_library + b"\0")
    library.chmod(0o644)
    with pytest.raises(Refused, match="was replaced after this program had loaded it: start the program again"):
        opened(path)


def test_a_damaged_model_is_refused_in_one_sentence(put: Any) -> None:
    content = bytearray(random_file(0))
    content[len(content) // 2] ^= 1
    with pytest.raises(Refused, match=r"the native engine refuses the file: the model is damaged"):
        opened(put(bytes(content)))


def test_a_batch_that_does_not_fit_is_never_read(put: Any) -> None:
    content = random_file(1, task=Task.EMBED, input_kind=InputKind.FLOAT)
    batch = batch_of(content)
    session = opened(put(content))
    for wrong in (batch[:, 1:], batch.astype(np.float64), batch[:, ::-1], np.asfortranarray(batch)):
        with pytest.raises(Refused, match="the model takes float32"):
            session.run(wrong)


def test_a_machine_the_engine_is_not_built_for_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "machine", lambda: ("linux", "armv7l", 32, False))
    with pytest.raises(Absent, match=r"not built for this machine \(linux, armv7l, 32 bits\), only for x86_64-linux"):
        engines.load("native", {})


# How long a model lives.


def test_two_artifacts_bring_two_engines(put: Any) -> None:
    """Each is called in its own, which may be of another version."""
    contents = [random_file(seed, task=Task.EMBED) for seed in (8, 9)]
    paths = [put(content, f"{seed}") for seed, content in enumerate(contents)]
    libraries = [Library(library_beside(path, PLATFORM)) for path in paths]
    assert len({ctypes.cast(library.run, ctypes.c_void_p).value for library in libraries}) == 2
    sessions = [opened(path) for path in paths]
    for session, content in zip(sessions, contents, strict=True):
        batch = batch_of(content)
        assert relative_error(session.run(batch)[0], answer(content, batch)[0]) < ROUNDED


def test_a_model_is_freed_once(put: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[int] = []

    class Counting(Library):
        def __init__(self, path: Path) -> None:
            super().__init__(path)
            close = self.close

            def counting(handle: int) -> None:
                freed.append(handle)
                close(handle)

            self.close = counting  # type: ignore[assignment]  # a function of C, which is called alike

    monkeypatch.setattr(native, "Library", Counting)
    content = random_file(2, input_kind=InputKind.FLOAT)
    path, batch = put(content), batch_of(content)
    session = opened(path)
    outputs = session.outputs
    session.close()
    session.close()
    assert len(freed) == 1
    with pytest.raises(Refused, match="the model is closed; open it again"):
        session.run(batch)
    assert session.outputs == outputs, "what was told stays told"
    del session
    gc.collect()
    assert len(freed) == 1
    forgotten = opened(path)
    del forgotten
    gc.collect()
    assert len(freed) == 2
