"""Whatever a file holds and in whatever order functions are called, nothing outside is touched and nothing is kept.

``make native-proof`` does two hundred times as much.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path

import native_hostile as hostile
import native_programs as programs
import pytest
from ecvx_networks import random_file
from native_engine import Engine, EngineError

QUICK = programs.QUICKLY


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    return hostile.corpus(tmp_path_factory.mktemp("corpus"), 16)


@pytest.fixture(scope="module")
def program() -> Path:
    if not programs.sanitizes(programs.ADDRESS):
        pytest.skip("there is no gcc with its sanitizers")
    return hostile.hostile(*QUICK)


def number(pattern: str, said: str) -> int:
    found = re.search(pattern, said)
    assert found, said
    return int(found[1])


def test_changed_files_are_refused_in_a_sentence_or_run(program: Path, corpus: list[str]) -> None:
    code, said = hostile.run(program, ["files", "1", "500", *corpus])
    assert code == 0, said
    assert number(r"of which (\d+) could be opened", said) > 50
    assert len(re.findall(r"^ *\d+  ", said, re.MULTILINE)) > 10  # sentences: mutations get past the frame


def test_calls_in_any_order_do_what_they_say(program: Path, corpus: list[str]) -> None:
    code, said = hostile.run(program, ["calls", "1", "200", *corpus])
    assert code == 0, said


def test_what_was_opened_and_closed_leaves_nothing_behind(program: Path, corpus: list[str]) -> None:
    code, said = hostile.run(program, ["leaks", "1", "20", *corpus])
    assert code == 0, said
    assert number(r"(\d+) times opened", said) == 320


BROKEN = {
    "a tensor's end": ("model.c", "(r->size - start) / bytes < count)", "0)", "files", "undefined", "overflow|SEGV"),
    "what is freed": ("engine.c", "    ecvx_free(model->outputs);\n", "", "leaks", "all", "memory was kept"),
}
"""File, what stands there, what shall, how it is tried, without which sanitizers, and what has to be found."""


@pytest.mark.parametrize("name", BROKEN)
def test_an_engine_that_forgets_one_thing_is_noticed(tmp_path: Path, corpus: list[str], name: str) -> None:
    source, right, wrong, mode, without, finding = BROKEN[name]
    if not programs.sanitizes(programs.ADDRESS):
        pytest.skip("there is no gcc with its sanitizers")
    folder = programs.without_kernels(programs.broken(tmp_path, source, right, wrong))
    code, said = hostile.run(
        hostile.hostile(*QUICK, f"-fno-sanitize={without}", folder=folder), [mode, "1", "1000", *corpus]
    )
    assert code and re.search(finding, said), said


def test_handles_and_threads_share_without_races(corpus: list[str]) -> None:
    """Two handles of a file from four threads, two a handle, each with two threads of its own."""
    if not programs.sanitizes(programs.THREAD):
        pytest.skip("there is no gcc with its sanitizer of threads")
    code, said = hostile.run(hostile.threads(), corpus[:2])
    assert code == 0, said


def test_a_handle_without_its_lock_is_a_race(tmp_path: Path, corpus: list[str]) -> None:
    if not programs.sanitizes(programs.THREAD):
        pytest.skip("there is no gcc with its sanitizer of threads")
    programs.broken(tmp_path, "engine.c", "    ecvx_lock_take(model->lock);\n", "")
    folder = programs.broken(tmp_path, "engine.c", "    ecvx_lock_give(model->lock);\n", "")
    code, said = hostile.run(hostile.threads(folder=programs.without_kernels(folder)), corpus[:1])
    assert code and re.search("data race|an answer differs", said), said


# What a user reads.


def repaired(file: bytes) -> bytes:
    return file[:12] + zlib.crc32(file[16:]).to_bytes(4, "little") + file[16:]


FILE = random_file(0)
REFUSED = {
    "another version": (
        repaired(FILE[:8] + b"\2\0\0\0" + FILE[12:]),
        "the model is of version 2, which this engine does not read: export it again",
    ),
    "a cut file": (FILE[:-64], f"the model is cut: {len(FILE) - 64} bytes of it are here"),
    "a flipped bit": (FILE[:-1] + bytes([FILE[-1] ^ 1]), "the model is damaged: its checksum is another"),
    "another file": (b"PK\3\4" + FILE[4:], "the file is no model of edgecvx"),
    "nothing": (b"\0" * 16, "the file is no model of edgecvx"),
    "a changed description": (
        repaired(FILE[:32] + b"\xff\xff\xff\xff" + FILE[36:]),
        "the model is damaged: 4294967295 stands where no such number can be",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_read_is_refused_in_one_sentence(tmp_path: Path, name: str) -> None:
    if not programs.here():
        pytest.skip("there is no C compiler")
    engine, (content, sentence) = Engine(programs.library()), REFUSED[name]
    (tmp_path / "model.ecvx").write_bytes(content)
    for model in (content, tmp_path / "model.ecvx"):
        with pytest.raises(EngineError) as refused, engine.opened(model):
            pass
        assert str(refused.value) == sentence
