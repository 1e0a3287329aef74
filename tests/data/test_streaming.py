"""Work on a stream overlaps, and gives what one loop gives."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from edgecvx.data.streaming import overlapped, prepared

STAGES = ((lambda n: 2 * n, 1), (lambda n: n * n, 3))


@pytest.mark.parametrize("ahead", [0, 1, 4, 100])
def test_every_item_comes_out_in_order_with_what_each_stage_made_of_it(ahead: int) -> None:
    assert list(overlapped(range(20), STAGES, ahead=ahead)) == [(n, [2 * n, n * n]) for n in range(20)]


def test_preparing_with_several_threads_keeps_the_order() -> None:
    turns = [threading.Event() for _ in range(10)]

    def after_its_neighbour(n: int) -> int:
        if n % 2 == 0:
            assert turns[n + 1].wait(10)
        turns[n].set()
        return n

    assert list(prepared(after_its_neighbour, range(10), threads=2)) == list(range(10))


@pytest.mark.parametrize(("ahead", "most"), [(0, 1), (2, 3)])
def test_no_more_is_taken_than_may_be_in_memory(ahead: int, most: int) -> None:
    taken, given = 0, 0

    def items() -> Iterator[int]:
        nonlocal taken
        for n in range(50):
            taken += 1
            assert taken - given <= most
            yield n

    for _ in overlapped(items(), STAGES, ahead=ahead):
        given += 1
    assert taken == given == 50


def test_stages_work_at_the_same_time_unless_one_loop_was_asked_for() -> None:
    meeting = threading.Barrier(2)

    def meet(_: int) -> bool:
        try:
            meeting.wait(timeout=0.2 if alone else 10)
        except threading.BrokenBarrierError:
            return False
        return True

    alone = False
    assert [met for _, met in overlapped(range(3), [(meet, 1), (meet, 1)], ahead=1)] == [[True, True]] * 3
    alone = True
    assert [met for _, met in overlapped(range(1), [(meet, 1), (meet, 1)], ahead=0)] == [[False, False]]


@pytest.mark.parametrize("ahead", [0, 3])
def test_an_error_comes_where_one_loop_would_have_met_it(ahead: int) -> None:
    def fail(n: int) -> int:
        if n >= 5:
            raise ValueError(f"{n}")
        return n

    seen = []
    with pytest.raises(ValueError, match=r"^5$"):
        for n, _ in overlapped(range(20), [(fail, 1), (fail, 2)], ahead=ahead):
            seen.append(n)
    assert seen == [0, 1, 2, 3, 4]


def test_whoever_stops_early_leaves_no_thread_behind() -> None:
    before = threading.active_count()
    stream = overlapped(range(1000), STAGES, ahead=2)
    next(stream)
    assert threading.active_count() > before
    del stream
    assert threading.active_count() == before
