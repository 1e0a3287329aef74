"""Any number of pictures through something that takes a fixed number at a time."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def batches(pictures: Iterable[T], size: int) -> Iterator[tuple[list[T], int]]:
    """Full batches for a file of fixed batch size, and how many of each count: the last one is filled up."""
    rest = iter(pictures)
    while True:
        part = list(itertools.islice(rest, size))
        if not part:
            return
        yield part + [part[-1]] * (size - len(part)), len(part)


def in_batches(run: Callable[[list[T]], Mapping[str, Any]], pictures: Iterable[T], size: int) -> dict[str, Any]:
    """What ``run`` returns for all pictures, given ``size`` at a time; what was only there to fill up is cut off."""
    import numpy as np

    parts: dict[str, list[Any]] = {}
    for part, kept in batches(pictures, size):
        for name, array in run(part).items():
            parts.setdefault(name, []).append(np.array(array[:kept]))
    return {name: np.concatenate(arrays) for name, arrays in parts.items()}
