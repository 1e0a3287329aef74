"""The native engine: a library that lies beside its model, called through ctypes.

A library is code. One that another user could have written is not loaded, nor one that was replaced after this process
loaded it: the system would go on with the old one and not say so. Options: ``kernels``: a set of kernels by name, of
those this processor can run; the best by default.
"""

from __future__ import annotations

import ctypes
import functools
import os
import threading
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx import __version__
from edgecvx.board.engines.base import (
    THE_FILE,
    Absent,
    Refused,
    Session,
    Tensor,
    UnknownOption,
    one_line,
    tensor,
)
from edgecvx.board.places import is_anothers, others_may_write
from edgecvx.board.platforms import LIBRARIES, library_beside, machine, name_of

TITLE = "the native engine"
PACKAGE = "edgecvx"
EXTRA = "native"
OPTIONS: Mapping[str, Sequence[str]] = {"kernels": ()}
INTERFACE = 1
"""``ECVX_VERSION`` of ``edgecvx.h``, which the structures here are those of."""

ERROR = 256
"""Bytes of the engine's sentences."""
_TYPES = ("float32", "uint8")
_Identity = tuple[int, int, int, int]
_loaded: dict[Path, _Identity] = {}
"""Libraries of this process, which keeps them to its end, and which file each was."""


def version(options: Mapping[str, str] = MappingProxyType({})) -> str:
    """The version of edgecvx, which calls the engine; the engine itself comes with each model.

    Raises:
        Absent: It is built for no such machine.
    """
    this_platform()
    return f"edgecvx {__version__}"


def this_platform() -> str:
    """The platform of the running Python.

    Raises:
        Absent: The engine is built for no such machine.
    """
    system, processor, bits, musl = machine()
    name = name_of(system, processor, bits, musl)
    if name is None:
        raise Absent(
            f"the native engine is not built for this machine ({system}, {processor}, {bits} bits), only for "
            f"{', '.join(LIBRARIES)}"
        )
    return name


class Runtime:
    """The way to the libraries; each is loaded with its model."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.version = version(options)
        self._kernels = options.get("kernels")
        self.library: Path | None = None
        """Another one than that beside the model."""

    def open(self, path: Path, threads: int | None, name: str = THE_FILE) -> NativeSession:
        """Opens an ``.ecvx`` file with the library for this machine."""
        platform = this_platform()
        place = self.library or library_beside(path, platform)
        if not place.is_file():
            raise Refused(
                f"{name} has no library for this machine beside it: edgecvx export … --platform {platform} writes it"
            )
        library = Library(place)
        known = tuple(library.kernels())
        if self._kernels is not None and self._kernels not in known:
            raise UnknownOption("set of kernels for this processor", self._kernels, known)
        return NativeSession(library, library.open(path, threads or 1, self._kernels, name), threads or 1)


class Options(ctypes.Structure):
    """``ecvx_options``."""

    _fields_ = (("threads", ctypes.c_int32), ("kernels", ctypes.c_char_p))


class TensorInfo(ctypes.Structure):
    """``ecvx_tensor``."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int32),
        ("rank", ctypes.c_int32),
        ("shape", ctypes.c_int32 * 4),
    )


class Info(ctypes.Structure):
    """``ecvx_info``."""

    _fields_ = (
        *((name, ctypes.c_char_p) for name in ("name", "license", "kernels")),
        ("input", TensorInfo),
        ("outputs", ctypes.c_int32),
        ("output", ctypes.POINTER(TensorInfo)),
        ("labels", ctypes.c_int32),
        ("label", ctypes.POINTER(ctypes.c_char_p)),
        ("weight_bytes", ctypes.c_int64),
        ("arena_bytes", ctypes.c_int64),
        ("int8_macs", ctypes.c_double),
    )


class Library:
    """The engine's functions, out of a library.

    Raises:
        Refused: It is not to be loaded, cannot be, or is none of this version.
    """

    def __init__(self, path: Path) -> None:
        path = path.absolute()
        _check_unchanged(path, _check_trusted(path))
        try:
            loaded = ctypes.CDLL(str(path), mode=ctypes.RTLD_LOCAL)
        except OSError as error:
            raise Refused(f"{path.name} cannot be loaded on this machine: {one_line(str(error), path)}") from error
        try:
            found = loaded.ecvx_version()
            self.describe, self.run, self.close = loaded.ecvx_describe, loaded.ecvx_run, loaded.ecvx_close
            self._open, self._kernels = loaded.ecvx_open, loaded.ecvx_kernels
        except AttributeError as error:
            raise Refused(f"{path.name} is no library of the native engine: export the model again") from error
        if found != INTERFACE:
            raise Refused(
                f"{path.name} is version {found} of the native engine, and this edgecvx calls version {INTERFACE}: "
                "export the model again"
            )
        handle, text, number = ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32
        self._open.restype, self._open.argtypes = handle, (text, ctypes.POINTER(Options), text)
        self.describe.restype, self.describe.argtypes = ctypes.POINTER(Info), (handle,)
        self.run.restype, self.run.argtypes = ctypes.c_int, (handle, handle, number, ctypes.POINTER(handle), text)
        self.close.restype, self.close.argtypes = None, (handle,)
        self._kernels.restype, self._kernels.argtypes = text, (number,)

    def kernels(self) -> Iterator[str]:
        """The sets of kernels this processor can run, the best first."""
        index = 0
        while (name := self._kernels(index)) is not None:
            yield name.decode()
            index += 1

    def open(self, path: Path, threads: int, kernels: str | None, name: str) -> int:
        """A handle of a model."""
        error = ctypes.create_string_buffer(ERROR)
        options = Options(threads, None if kernels is None else kernels.encode())
        handle = self._open(os.fsencode(path.absolute()), ctypes.byref(options), error)
        if not handle:
            raise Refused(f"the native engine refuses {name}: {error.value.decode(errors='replace')}")
        return int(handle)


class NativeSession(Session):
    """An open model. Freed once: by ``close``, or with this object; a run and a close wait for each other."""

    def __init__(self, library: Library, handle: int, threads: int) -> None:
        import numpy as np

        self._np, self._library, self._handle, self.threads = np, library, handle, threads
        self._lock, self._free = threading.Lock(), weakref.finalize(self, library.close, handle)
        info = library.describe(handle).contents
        super().__init__([_copied(info.input)], [_copied(info.output[i]) for i in range(info.outputs)])
        self.memory = {"weights": int(info.weight_bytes), "inner tensors": int(info.arena_bytes)}
        self._set = info.kernels.decode()
        (self._input,) = self._read
        self._dtype = np.dtype(self._input[2])

    @functools.cached_property
    def backend(self) -> str | None:
        """The set of kernels."""
        return str(self._set)

    def run(self, batch: Any) -> Sequence[Any]:
        """One run, outside of Python's own lock; the answers are new arrays."""
        np = self._np
        if batch.shape != self._input[1] or batch.dtype != self._dtype or not batch.flags.c_contiguous:
            raise Refused(f"the model takes {self._input[2]} {list(self._input[1])}, without gaps")
        answers = [np.empty(shape, np.float32) for _, shape, _ in self._written]
        places = (ctypes.c_void_p * len(answers))(*(array.ctypes.data for array in answers))
        error = ctypes.create_string_buffer(ERROR)
        with self._lock:
            if not self._free.alive:
                raise Refused("the model is closed; open it again to run it")
            failed = self._library.run(self._handle, batch.ctypes.data, batch.shape[0], places, error)
        if failed:
            raise Refused(f"the native engine failed: {error.value.decode(errors='replace')}")
        return answers

    def close(self) -> None:
        """Frees the model; may be called again."""
        with self._lock:
            self._free()

    def _describe(self, value: Any) -> Tensor:
        name, shape, dtype = value
        return tensor(name, shape, dtype, channels_last=True)


def _copied(described: TensorInfo) -> tuple[str, tuple[int, ...], str]:
    """A tensor's name, shape and type, which are the model's only as long as it is open."""
    return described.name.decode(), tuple(described.shape[: described.rank]), _TYPES[described.type]


def _check_trusted(path: Path) -> _Identity:
    """Refuses a library that another user could have written; which file it is."""
    facts = path.stat()
    if os.name == "posix":
        if is_anothers(facts):
            raise Refused(f"{path.name} is another user's, and a library is code: make a copy of it and its model")
        if others_may_write(facts):
            raise Refused(f"other users may write {path.name}, and a library is code: chmod go-w it, if you trust it")
    return facts.st_dev, facts.st_ino, facts.st_size, facts.st_mtime_ns


def _check_unchanged(path: Path, identity: _Identity) -> None:
    """Refuses a library in whose place another one was loaded: by its path, the system would give that one again."""
    if _loaded.setdefault(path, identity) != identity:
        raise Refused(f"{path.name} was replaced after this program had loaded it: start the program again")
