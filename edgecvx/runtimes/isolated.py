"""A session in a process of its own.

Runtimes are native code that parses files. A file one of them dies on must end as one clear sentence, not as the end
of the tool; so the runtime lives in a child process, and this class speaks to it. Requests and answers are a length, a
JSON header and raw arrays (no pickle: what comes back from a process that has just parsed a hostile file is data).
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgecvx import errors
from edgecvx.board.ending import chatter_file, ending, shorten
from edgecvx.errors import EdgecvxError, RuntimeFailedError
from edgecvx.runtimes.base import Array, check_batch
from edgecvx.spec import TensorSpec, from_json

PATIENCE = 300.0
"""Seconds without an answer after which a runtime counts as hung; the slowest honest answer takes a few."""
_WORKER = "import sys; sys.path[:] = filter(None, sys.path); from edgecvx.runtimes.worker import main; sys.exit(main())"
"""Imports from where this process does, and not from the folder the user stands in, as ``-m`` and ``-c`` would."""
_LENGTH = struct.Struct("<Q")
_MAX_HEADER = 1 << 20


class IsolatedSession:
    """A ``Session`` whose runtime runs in a child process."""

    def __init__(
        self, runtime: str, path: Path, *, threads: int | None, options: Mapping[str, str], patience: float = PATIENCE
    ) -> None:
        self._runtime, self._name, self._patience = runtime, path.name, patience
        self._chatter = chatter_file()
        self._child = subprocess.Popen(
            [sys.executable, "-c", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._chatter,
            env=_environment(threads),
        )
        try:
            request = {"runtime": runtime, "path": str(path.absolute()), "threads": threads, "options": dict(options)}
            header, _ = self._ask(request, (), "opening")
            self.inputs = tuple(from_json(TensorSpec, t) for t in header["inputs"])
            self.outputs = tuple(from_json(TensorSpec, t) for t in header["outputs"])
            self.notes = tuple(str(note) for note in header.get("notes", ()))
            memory = header.get("memory")
            self.memory = None if memory is None else {str(name): int(size) for name, size in memory.items()}
        except BaseException:
            self.close()
            raise

    def run(self, batch: Array) -> dict[str, Array]:
        """Runs one batch; the outputs by name."""
        header, arrays = self._ask({}, (check_batch(batch, self.inputs[0]),), "running")
        return dict(zip(header["names"], arrays, strict=True))

    def close(self) -> None:
        """Ends the child process."""
        if self._child.stdin is not None:
            # The child may be gone already, and what it did not read with it.
            with contextlib.suppress(BrokenPipeError):
                self._child.stdin.close()
        try:
            self._child.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()
        if self._child.stdout is not None:
            self._child.stdout.close()
        self._chatter.close()

    def _ask(self, request: dict[str, Any], arrays: Sequence[Array], doing: str) -> tuple[dict[str, Any], list[Array]]:
        stdin, stdout = self._child.stdin, self._child.stdout
        if stdin is None or stdout is None or stdin.closed:
            raise RuntimeFailedError(f"{self._runtime}: the session is closed")
        shorten(self._chatter)
        try:
            send(stdin, request, arrays)
            header, answers = receive(_Patient(stdout, time.monotonic() + self._patience))
        except (EOFError, BrokenPipeError):
            raise RuntimeFailedError(self._exit_reason(doing)) from None
        except TimeoutError:
            self._child.kill()
            raise RuntimeFailedError(
                f"{self._runtime} gave no answer for {self._patience:.0f} s while {doing} {self._name}; it was stopped"
            ) from None
        if "error" in header:
            kind = getattr(errors, str(header.get("kind")), RuntimeFailedError)
            is_ours = isinstance(kind, type) and issubclass(kind, EdgecvxError)
            raise (kind if is_ours else RuntimeFailedError)(header["error"])
        return header, answers

    def _exit_reason(self, doing: str) -> str:
        """How the child ended, in one line."""
        how, last = ending(self._child.wait(), self._chatter)
        return f"{self._runtime} {how} while {doing} {self._name}{last}; the file is damaged or not for this runtime"


def _environment(threads: int | None) -> dict[str, str]:
    """The child's: our import path, and a limit for those libraries that read their number of threads at the start."""
    paths = {"PYTHONPATH": os.pathsep.join(p or str(Path.cwd()) for p in sys.path)}
    limits = {} if threads is None else dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    return {**os.environ, **paths, **limits}


class _Patient:
    """A pipe that raises TimeoutError instead of waiting for ever."""

    def __init__(self, stream: IO[bytes], deadline: float) -> None:
        self._descriptor, self._deadline = stream.fileno(), deadline

    def read(self, size: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0 or not select.select([self._descriptor], [], [], left)[0]:
            raise TimeoutError
        return os.read(self._descriptor, min(size, 1 << 20))


def send(stream: IO[bytes], header: dict[str, Any], arrays: Sequence[Array]) -> None:
    """Writes one message."""
    described = {**header, "arrays": [{"shape": list(a.shape), "dtype": a.dtype.str} for a in arrays]}
    text = json.dumps(described).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in arrays:
        stream.write(np.ascontiguousarray(array).data.cast("B") if array.size else b"")
    stream.flush()


def receive(stream: Any) -> tuple[dict[str, Any], list[Array]]:
    """Reads one message; EOFError where the other side is gone."""
    (length,) = _LENGTH.unpack(_exactly(stream, _LENGTH.size))
    if length > _MAX_HEADER:
        raise EOFError("not a message")
    header: dict[str, Any] = json.loads(_exactly(stream, length))
    arrays = []
    for described in header.pop("arrays"):
        dtype, shape = np.dtype(described["dtype"]), tuple(described["shape"])
        data = _exactly(stream, dtype.itemsize * int(np.prod(shape, dtype=np.int64)))
        arrays.append(np.frombuffer(data, dtype=dtype).reshape(shape))
    return header, arrays


def _exactly(stream: Any, size: int) -> bytearray:
    data = bytearray()
    while len(data) < size:
        block = stream.read(size - len(data))
        if not block:
            raise EOFError
        data += block
    return data
