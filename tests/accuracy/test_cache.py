"""Rows that outlive the process: nothing that happens to the files may change a figure."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from edgecvx.accuracy import cache
from edgecvx.accuracy.cache import RowStore, opened_cache, picture_key
from edgecvx.board.places import cache_folder

ROW = np.dtype((np.float32, (5,)))
KEYS = [picture_key("picture", i) for i in range(40)]
ROWS = np.random.default_rng(0).standard_normal((40, 5), np.float32)


def store(root: Path, **what: object) -> RowStore:
    return RowStore(root, what, ROW)


def filled(root: Path, count: int = 40) -> Path:
    """A store of so many rows; returns its one segment."""
    with store(root) as rows:
        for i in range(0, count, 8):
            rows.add(KEYS[i : i + 8], ROWS[i : i + 8])
    (segment,) = root.rglob("*.rows")
    return segment


def known(root: Path) -> list[int]:
    with store(root) as rows:
        found = [i for i, key in enumerate(KEYS) if key in rows]
        np.testing.assert_array_equal(rows.get([KEYS[i] for i in found]), ROWS[found])
        return found


def test_rows_come_back_in_any_order_at_once_and_later(tmp_path: Path) -> None:
    with store(tmp_path) as rows:
        rows.add(KEYS[:3], ROWS[:3])
        rows.add(KEYS[3:], ROWS[3:])
        np.testing.assert_array_equal(rows.get(KEYS[::-1]), ROWS[::-1])
    assert known(tmp_path) == list(range(40))


def test_another_question_is_another_store(tmp_path: Path) -> None:
    with store(tmp_path, weights="a") as one, store(tmp_path, weights="b") as other:
        one.add(KEYS[:1], ROWS[:1])
        assert KEYS[0] in one and KEYS[0] not in other


def test_a_row_torn_by_a_kill_is_computed_again(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    with segment.open("r+b") as stream:
        stream.truncate(segment.stat().st_size - 7)
    assert known(tmp_path) == list(range(39))
    with store(tmp_path) as rows:
        rows.add(KEYS[39:], ROWS[39:])
    assert known(tmp_path) == list(range(40))


def test_a_row_damaged_on_the_disk_is_computed_again(tmp_path: Path) -> None:
    segment = filled(tmp_path)
    content = bytearray(segment.read_bytes())
    size = len(content) // 40
    for row in (3, 17):
        content[row * size + 40] ^= 1
    segment.write_bytes(content)
    assert known(tmp_path) == [i for i in range(40) if i not in (3, 17)]


@pytest.mark.parametrize(
    "content", [b"", b"\0" * 10_000, np.random.default_rng(0).bytes(5_000)], ids=["nothing", "zeros", "noise"]
)
def test_a_segment_of_rubbish_holds_nothing(content: bytes, tmp_path: Path) -> None:
    filled(tmp_path, 8).with_name("rubbish.rows").write_bytes(content)
    assert known(tmp_path) == list(range(8))


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    with store(tmp_path) as one, store(tmp_path) as other:
        for i in range(0, 40, 2):
            one.add(KEYS[i : i + 1], ROWS[i : i + 1])
            other.add(KEYS[i + 1 : i + 2], ROWS[i + 1 : i + 2])
    assert known(tmp_path) == list(range(40))


def test_the_stores_not_used_for_longest_are_removed_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in "abc":
        with store(tmp_path, name=name) as rows:
            rows.add(KEYS, ROWS)
    stores = {p.name: p for p in (tmp_path / "rows").iterdir()}
    days = dict(zip(sorted(stores), (9, 5, 0.1), strict=True))
    for name, path in stores.items():
        os.utime(path, (time.time() - 86400 * days[name],) * 2)
    monkeypatch.setattr(cache, "MAX_BYTES", 1)
    with opened_cache(tmp_path):
        pass
    assert [p.name for p in (tmp_path / "rows").iterdir()] == [n for n, d in days.items() if d < 1], "one is in use"


def test_the_folder_is_the_platform_s_unless_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("EDGECVX_CACHE", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "edgecvx"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert cache_folder() == Path.home() / ".cache" / "edgecvx"
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"


def test_a_folder_that_cannot_be_written_becomes_a_temporary_one(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with opened_cache(tmp_path / "file") as (root, note):
        assert root.is_dir() and root != tmp_path / "file"
        assert note is not None and "cannot be written" in note
    assert not root.exists()
