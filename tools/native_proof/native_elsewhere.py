"""The engine on processors this machine is not, asked as if it were here."""

from __future__ import annotations

from typing import Any

import numpy as np
from native_programs import HERE, THIS, Machine
from numpy.typing import NDArray

Array = NDArray[Any]
SOURCE = HERE / "answers.c"
NEAR = 0.9999
"""Cosine of two processors' logits: they differ in the last digits of a float, and then an int8 rounding may take the
other side."""


class Elsewhere:
    """A processor, with what ``native_engine.Engine`` has."""

    def __init__(self, machine: Machine, **building: Any) -> None:
        self._machine = machine
        self._program = machine.program(SOURCE, beside=True, **building)
        self.kernels = tuple(machine.run(self._program).decode().split())

    def answer(self, model: bytes, images: Array, kernels: str | None = None, threads: int = 1) -> list[Array]:
        """All outputs for some pictures."""
        parts = [np.int64(len(model)).tobytes(), model, np.int32(len(images)).tobytes(), images.tobytes()]
        said = self._machine.run(self._program, kernels or "-", str(threads), given=b"".join(parts))
        return _outputs(said)


def _outputs(said: bytes) -> list[Array]:
    count, at, outputs = int(np.frombuffer(said, np.int32, 1)[0]), 4, []
    for _ in range(count):
        rank = int(np.frombuffer(said, np.int32, 1, at)[0])
        shape = np.frombuffer(said, np.int32, rank, at + 4)
        at += 4 + 4 * rank
        size = int(np.prod(shape, dtype=np.int64))
        outputs.append(np.frombuffer(said, np.float32, size, at).reshape(shape))
        at += 4 * size
    return outputs


def cosines(one: Array, other: Array) -> Array:
    """Of each row."""
    a, b = one.astype(np.float64), other.astype(np.float64)
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray((a * b).sum(axis=1) / np.maximum(lengths, 1e-30))


def here(**building: Any) -> Elsewhere:
    """This machine, by the same program."""
    return Elsewhere(THIS, **building)
