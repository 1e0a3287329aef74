"""Work on a stream of things that overlaps, a bounded part of it in memory, in the order of the stream.

Decoding a picture, asking the reference and asking a file each leave a processor idle for a while; done one after the
other, they wait for each other too. Here the next thing is prepared while one is in use, and what is done with one
thing is done side by side. What comes out is what one loop would give: the same values in the same order, and the error
that the loop would have met first.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

S = TypeVar("S")
T = TypeVar("T")


def prepared(function: Callable[[S], T], items: Iterable[S], *, threads: int = 1, ahead: int = 1) -> Iterator[T]:
    """What a function makes of each item, a few of them ahead of where they are used.

    Args:
        function: Called in other threads; it must not mind being called for several items at once.
        items: Taken from this thread.
        threads: How many items are prepared at once.
        ahead: How many are ready or in preparation while one is in use, ``threads`` at least.
    """
    for _, (made,) in _streamed(items, [(function, threads)], max(ahead, threads)):
        yield made


Stage = tuple[Callable[[S], Any], int]
"""What is done with each item, and with how many of them at once."""


def overlapped(items: Iterable[S], stages: Sequence[Stage[S]], *, ahead: int) -> Iterator[tuple[S, list[Any]]]:
    """Each item with what each of the stages makes of it.

    Args:
        items: Taken from this thread.
        stages: Each has threads of its own for as long as the stream lasts; one of a single thread sees one item at a
            time, in order.
        ahead: How many items are in the stages while one is in use: what they may hold beyond what one loop would. With
            0 it is one loop, in this thread alone.
    """
    if not ahead:
        yield from ((item, [stage(item) for stage, _ in stages]) for item in items)
    else:
        yield from _streamed(items, stages, ahead)


def processors() -> int:
    """How many this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else os.cpu_count() or 1


def _streamed(items: Iterable[S], stages: Sequence[Stage[S]], ahead: int) -> Iterator[tuple[S, list[Any]]]:
    under_way: deque[tuple[S, list[Future[Any]]]] = deque()
    with contextlib.ExitStack() as stack:
        pools = [(stage, stack.enter_context(_pool(threads))) for stage, threads in stages]
        for item in items:
            under_way.append((item, [pool.submit(stage, item) for stage, pool in pools]))
            if len(under_way) > ahead:
                yield _done(*under_way.popleft())
        while under_way:
            yield _done(*under_way.popleft())


def _done(item: S, futures: Sequence[Future[Any]]) -> tuple[S, list[Any]]:
    return item, [future.result() for future in futures]


@contextlib.contextmanager
def _pool(threads: int) -> Iterator[ThreadPoolExecutor]:
    """Threads that begin nothing more once nobody wants it, and are waited for."""
    pool = ThreadPoolExecutor(max_workers=threads)
    try:
        yield pool
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
