"""One place, the newest wins, and nobody waits for anybody."""

from __future__ import annotations

import threading

from waiting import PATIENCE

from edgecvx_live.mailbox import Newest


def test_the_newest_wins_and_what_it_replaced_is_counted() -> None:
    box: Newest[str] = Newest()
    for word in ("first", "second", "third"):
        box.put(word)
    assert box.wait(0, timeout=0) == (3, "third")
    assert box.replaced == 2
    box.put("fourth")
    assert box.replaced == 2, "the third was got"


def test_nothing_is_got_twice_and_every_reader_gets_it() -> None:
    box: Newest[str] = Newest()
    serial = box.put("word")
    assert box.wait(0, timeout=0) == box.wait(0, timeout=0) == (serial, "word")
    assert box.wait(serial, timeout=0) is None


def test_a_reader_is_woken_by_the_next_value() -> None:
    box: Newest[int] = Newest()
    got: list[tuple[int, int] | None] = []
    reader = threading.Thread(target=lambda: got.append(box.wait(0, timeout=PATIENCE)))
    reader.start()
    box.put(7)
    reader.join(PATIENCE)
    assert got == [(1, 7)]


def test_closing_wakes_everybody_and_loses_nothing() -> None:
    box: Newest[int] = Newest()
    serial = box.put(7)
    got: list[tuple[int, int] | None] = []
    reader = threading.Thread(target=lambda: got.append(box.wait(serial)))
    reader.start()
    box.close()
    reader.join(PATIENCE)
    assert got == [None]
    assert box.wait(0) == (serial, 7)
    assert box.closed
