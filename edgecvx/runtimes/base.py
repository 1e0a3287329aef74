"""The seam every runtime is behind: open a file, run arrays through it.

A session speaks its file's own layout and dtype, described by ``inputs`` and ``outputs``; nothing is converted on the
way, so what is measured and compared is what runs on the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgecvx.board import engines
from edgecvx.board.batches import in_batches
from edgecvx.board.engines.base import (
    Absent,
    Missing,
    OptionRefused,
    Refused,
    UnknownOption,
    Unreadable,
    Untrusted,
)
from edgecvx.errors import (
    ArtifactError,
    RuntimeFailedError,
    RuntimeUnavailableError,
    UsageError,
    missing_package,
    one_of,
)
from edgecvx.spec import TensorSpec

Array = NDArray[Any]

RUNTIMES: dict[str, str] = {name: engines.engine(name).EXTRA for name in engines.NAMES}
"""Name -> extra that installs it. Torch is not here: it opens no artifact, it is the reference."""


def check_runtime(name: str) -> None:
    """Refuses a name that no runtime has.

    Raises:
        UsageError: It is such a name.
    """
    if name not in RUNTIMES:
        raise one_of("runtime", name, tuple(RUNTIMES))


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


@contextlib.contextmanager
def translate_errors(runtime: str) -> Iterator[None]:
    """What an engine refuses, as an error of edgecvx."""
    again = "delete it and run edgecvx build-engine again"
    try:
        yield
    except UnknownOption as error:
        raise one_of(error.what, error.value, error.known) from error
    except OptionRefused as error:
        raise UsageError(str(error)) from error
    except Missing as error:
        engine = engines.engine(runtime)
        if error.package == engine.PACKAGE:
            raise missing_package(f"{engine.TITLE} ({engine.PACKAGE})", RUNTIMES[runtime]) from error
        raise RuntimeUnavailableError(f"{error.package} is not installed here: pip install {error.package}") from error
    except Absent as error:
        raise RuntimeUnavailableError(str(error)) from error
    except Unreadable as error:
        raise ArtifactError(f"{error}: {again}") from error
    except Untrusted as error:
        raise RuntimeFailedError(f"{error}: {again}, as root or as the user that runs it") from error
    except Refused as error:
        raise RuntimeFailedError(str(error)) from error
