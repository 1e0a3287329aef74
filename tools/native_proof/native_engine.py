"""The engine's library through ctypes, exactly as its header has it."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.board.engines.native import ERROR, Info, Options

Array = NDArray[Any]


class EngineError(RuntimeError):
    """The engine's own sentence."""


class Handle:
    """An open model."""

    def __init__(self, library: ctypes.CDLL, pointer: int) -> None:
        self._library, self.pointer = library, pointer
        self.info = library.ecvx_describe(pointer).contents
        tensors = [self.info.output[index] for index in range(self.info.outputs)]
        self.names = [tensor.name.decode() for tensor in tensors]
        self.shapes = [tuple(tensor.shape[1 : tensor.rank]) for tensor in tensors]

    def run(self, images: Array) -> list[Array]:
        """All outputs for some pictures; what the engine does not write stays no number."""
        given = np.ascontiguousarray(images)
        outputs = [np.full((len(given), *shape), np.nan, np.float32) for shape in self.shapes]
        places = (ctypes.c_void_p * len(outputs))(*[array.ctypes.data for array in outputs])
        error = ctypes.create_string_buffer(ERROR)
        if self._library.ecvx_run(self.pointer, given.ctypes.data, len(given), places, error):
            raise EngineError(error.value.decode())
        return outputs


class Engine:
    """A library of the engine."""

    def __init__(self, path: Path) -> None:
        library = ctypes.CDLL(str(path))
        opening: list[Any] = [ctypes.POINTER(Options), ctypes.c_char_p]
        library.ecvx_open.argtypes = [ctypes.c_char_p, *opening]
        library.ecvx_open_memory.argtypes = [ctypes.c_char_p, ctypes.c_size_t, *opening]
        library.ecvx_open.restype = library.ecvx_open_memory.restype = ctypes.c_void_p
        library.ecvx_describe.argtypes, library.ecvx_describe.restype = [ctypes.c_void_p], ctypes.POINTER(Info)
        places = ctypes.POINTER(ctypes.c_void_p)
        library.ecvx_run.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32, places, ctypes.c_char_p]
        library.ecvx_close.argtypes, library.ecvx_close.restype = [ctypes.c_void_p], None
        library.ecvx_kernels.argtypes, library.ecvx_kernels.restype = [ctypes.c_int32], ctypes.c_char_p
        self._library = library

    @property
    def kernels(self) -> tuple[str, ...]:
        """What this processor can run, best first."""
        found: list[str] = []
        while name := self._library.ecvx_kernels(len(found)):
            found.append(name.decode())
        return tuple(found)

    @contextmanager
    def opened(self, model: bytes | Path, kernels: str | None = None, threads: int = 1) -> Iterator[Handle]:
        """A model, from memory or from a file.

        Raises:
            EngineError: It is refused.
        """
        error = ctypes.create_string_buffer(ERROR)
        options = ctypes.byref(Options(threads, kernels.encode() if kernels else None))
        if isinstance(model, bytes):
            pointer = self._library.ecvx_open_memory(model, len(model), options, error)
        else:
            pointer = self._library.ecvx_open(str(model).encode(), options, error)
        if not pointer:
            raise EngineError(error.value.decode())
        try:
            yield Handle(self._library, pointer)
        finally:
            self._library.ecvx_close(pointer)

    def answer(self, model: bytes | Path, images: Array, kernels: str | None = None, threads: int = 1) -> list[Array]:
        """All outputs of a model that is opened for this one call."""
        with self.opened(model, kernels, threads) as handle:
            return handle.run(images)
