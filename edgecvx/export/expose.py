"""A debug build of a file that exists already: the same file, with inner tensors as additional outputs.

What is examined must be the artifact's own constants, not those of a fresh export: so the file itself is taken and its
list of outputs made longer, nothing else. Each format has a module with two functions:

``inner_tensors(path)``
    Canonical name -> the file's own name, for every tensor that a canonical value can be found in. A value that the
    file computes inside of another op (a fused SiLU's gate) has none.
``expose(path, names)``
    The files of the debug build, suffix -> content as in ``Lowered.files``, with the tensors of these own names
    appended to the outputs.

Only data is edited here; the runtime that opens the result stays in its own process. A runtime fuses less where an
inner tensor is asked for, so the last digits of a debug build may differ from those of the artifact.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Protocol, cast

from edgecvx.errors import one_of

FORMATS: Mapping[str, str] = MappingProxyType(
    {
        "onnx": "edgecvx.export.onnx.expose",
        "openvino": "edgecvx.export.openvino.expose",
        "tflite": "edgecvx.export.tflite.expose",
        "coreml": "edgecvx.export.coreml.expose",
    }
)
"""Format -> module."""


class Exposer(Protocol):
    """What every module of ``FORMATS`` offers."""

    def inner_tensors(self, path: Path) -> Mapping[str, str]:
        """Canonical name -> the file's own name."""
        ...

    def expose(self, path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
        """The debug build."""
        ...


def exposer(format: str) -> Exposer:
    """The module for a format; imported only here."""
    if format not in FORMATS:
        raise one_of("format with inner tensors", format, tuple(FORMATS))
    return cast(Exposer, importlib.import_module(FORMATS[format]))
