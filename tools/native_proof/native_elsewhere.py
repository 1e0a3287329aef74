"""The engine on processors this machine is not, asked as if it were here."""

from __future__ import annotations

from typing import Any

import numpy as np
from native_programs import HERE, THIS, Machine
from numpy.typing import NDArray

Array = NDArray[Any]
SOURCE = HERE / "answers.c"
AT_ONCE = 5
"""Pictures in one request: node's processes end with many more of them."""


class Elsewhere:
    """A processor, with what ``native_engine.Engine`` has."""

    def __init__(self, machine: Machine, **building: Any) -> None:
        self._machine = machine
        self._program = machine.program(SOURCE, beside=True, **building)
        self.kernels = tuple(machine.run(self._program).decode().split())

    def answer(self, model: bytes, images: Array, kernels: str | None = None, threads: int = 1) -> list[Array]:
        """All outputs for some pictures."""
        few = [images[at : at + AT_ONCE] for at in range(0, len(images), AT_ONCE)]
        answers = [self._answer(model, some, kernels, threads) for some in few]
        return [np.concatenate(outputs) for outputs in zip(*answers, strict=True)]

    def _answer(self, model: bytes, images: Array, kernels: str | None, threads: int) -> list[Array]:
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


def here(**building: Any) -> Elsewhere:
    """This machine, by the same program."""
    return Elsewhere(THIS, **building)
