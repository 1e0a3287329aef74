"""What the openers have in common: an open file, its tensors, and how what cannot be opened or run is refused."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

THE_FILE = "the file"
"""What a file is called in a sentence where its name says nothing, as on a device."""

_TYPES = {"float32": "float32", "f32": "float32", "float": "float32", "float16": "float16", "f16": "float16"}
_TYPES.update({"uint8": "uint8", "u8": "uint8", "int8": "int8", "i8": "int8"})
"""A runtime's own name for a type -> numpy's."""

_NOISE = re.compile(
    r"^\[ONNXRuntimeError\] : \d+ : [A-Z_]+ : |Load model from .*? failed:"
    r"|Exception from \S+:\d+:|Check '.*?' failed at \S+:\d+:"
)
"""Numbers of errors, and places in the source of ONNX Runtime and OpenVINO."""


class Refused(Exception):  # noqa: N818  # it reads: the runtime refused the file
    """A file cannot be opened or run here; the message is a sentence."""


class OptionRefused(Refused):
    """An option asks for what is not there."""


class UnknownOption(OptionRefused):
    """An option, or its value, is none of those there are."""

    def __init__(self, what: str, value: str, known: Sequence[str]) -> None:
        super().__init__(f"there is no {what} {value!r}" + (f", only {', '.join(known)}" if known else ""))
        self.what, self.value, self.known = what, value, tuple(known)


class Absent(Refused):
    """What a runtime needs is not on this machine, or too old, and no package of pip's alone brings it."""


class Missing(Refused):
    """A package is not installed."""

    def __init__(self, package: str) -> None:
        super().__init__(f"{package} is not installed on this device")
        self.package = package


class Unreadable(Refused):
    """TensorRT cannot open an engine: it is damaged, or of another TensorRT."""


class Untrusted(Refused):
    """Another user could have written an engine, and an engine is code."""


@dataclass(frozen=True)
class Tensor:
    """An input or output of a file."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    layout: str


class Session:
    """An open file, and what the runtime says of it. ``run`` is the runtime's own call, for that is what is timed.

    Args:
        read: The file's inputs as the runtime describes them.
        written: Its outputs.
    """

    threads: int | None = None
    arithmetic: str | None = None
    """What it computes in, where the runtime tells."""
    notes: tuple[str, ...] = ()
    """What a user has to know of this session."""
    memory: Mapping[str, int] | None = None
    """Bytes it holds, by what they are for, where the runtime tells."""

    def __init__(self, read: Sequence[Any], written: Sequence[Any]) -> None:
        self._read, self._written = read, written

    @functools.cached_property
    def inputs(self) -> tuple[Tensor, ...]:
        """The file's inputs; described when they are asked for, since opening is timed too.

        Raises:
            Refused: They are none that edgecvx can feed.
        """
        return tuple(map(self._describe, self._read))

    @functools.cached_property
    def outputs(self) -> tuple[Tensor, ...]:
        """The file's outputs, in its order."""
        return tuple(map(self._describe, self._written))

    @functools.cached_property
    def backend(self) -> str | None:
        """Who really computes; asked for after the times were taken, since finding out may take a while."""
        raise NotImplementedError

    def run(self, batch: Any) -> Sequence[Any]:
        """One run; the arrays in the order of ``outputs``."""
        raise NotImplementedError

    def close(self) -> None:
        """Frees what the runtime holds; nothing works afterwards."""
        vars(self).clear()

    def _describe(self, value: Any) -> Tensor:
        raise NotImplementedError


def tensor(name: str, shape: Sequence[Any], dtype: str, *, channels_last: bool = False) -> Tensor:
    """A tensor as edgecvx speaks of it, with numpy's name of its type.

    Raises:
        Refused: It is neither pictures nor vectors of one size, or of a type that edgecvx does not know.
    """
    if len(shape) not in (2, 4) or not all(isinstance(size, int) and size > 0 for size in shape):
        words = f"tensor {name!r} has shape {list(shape)}"
        raise Refused(f"{words}; edgecvx runs files of static shapes, of pictures and vectors")
    if dtype not in _TYPES:
        raise Refused(f"this file has a tensor of type {dtype}, which edgecvx does not write or read")
    layout = "NC" if len(shape) == 2 else "NHWC" if channels_last else "NCHW"
    return Tensor(name=name, shape=tuple(shape), dtype=_TYPES[dtype], layout=layout)


def require(module: str, package: str) -> None:
    """Looks whether a package is here, without importing it.

    Raises:
        Missing: It is not.
    """
    if importlib.util.find_spec(module) is None:
        raise Missing(package)


@contextlib.contextmanager
def refusals(doing: str, path: Path | None = None, passing: type[Exception] = Refused) -> Iterator[None]:
    """What a runtime raises has no common base; it becomes one sentence.

    Args:
        doing: The sentence's begin: ``OpenVINO refuses the file``.
        path: The file, whose folder is nobody's business.
        passing: What is a sentence already, beside a refusal.
    """
    try:
        yield
    except (Refused, passing):
        raise
    except Exception as error:
        raise Refused(f"{doing}: {one_line(error, path)}") from error


def one_line(said: object, path: Path | None = None) -> str:
    """A runtime's own words in one line, of bearable length."""
    text = _NOISE.sub("", str(said))
    if path is not None:
        text = text.replace(f"{path.parent}{os.sep}", "")
    return " ".join(text.split())[:300] or ("it does not say why" if isinstance(said, str) else type(said).__name__)
