"""The seam every runtime is behind: open a file, run arrays through it.

A session speaks its file's own layout and dtype, described by ``inputs`` and ``outputs``; nothing is converted on the
way, so what is measured and compared is what runs on the device.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecvx.board.batches import in_batches
from edgecvx.errors import RuntimeFailedError
from edgecvx.spec import TensorSpec

Array = NDArray[Any]


class Session(Protocol):
    """An open file."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """The file's inputs, as the runtime reports them."""
        ...

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """The file's outputs, in the file's order."""
        ...

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        ...

    def close(self) -> None:
        """Frees what the runtime holds."""
        ...


def check_batch(batch: Array, expected: TensorSpec) -> Array:
    """Returns the batch, contiguous, if a session can take it; says what is wrong with it otherwise."""
    if batch.shape != expected.shape or batch.dtype != np.dtype(expected.dtype):
        raise RuntimeFailedError(
            f"input {expected.name!r} takes {expected.dtype} {list(expected.shape)} in {expected.layout}, "
            f"got {batch.dtype} {list(batch.shape)}"
        )
    return np.ascontiguousarray(batch)


def run_batches(session: Session, pictures: Array) -> dict[str, Array]:
    """Runs any number of pictures through a session of fixed batch size; the last batch is filled up and cut."""
    return in_batches(lambda part: session.run(np.stack(part)), pictures, session.inputs[0].shape[0])


def dtype_of(name: str) -> Any:
    """The ``TensorSpec`` name of a runtime's own name for a type, or a clear refusal."""
    known = {"float32": "float32", "f32": "float32", "float": "float32", "float16": "float16", "f16": "float16"}
    known |= {"uint8": "uint8", "u8": "uint8", "int8": "int8", "i8": "int8"}
    key = name.lower().removeprefix("tensor(").removesuffix(")")
    if key not in known:
        raise RuntimeFailedError(f"this file has a tensor of type {name}, which edgecvx does not write or read")
    return known[key]
