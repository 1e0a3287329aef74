"""Opens a file in its runtime: the same way for a measurement on a board and for a proof on this machine.

A runtime is one module in here, found by its name, and each has the same names for the same jobs:

- ``TITLE``: what it is called; ``PACKAGE``: what is installed with pip where it is missing, and
  ``EXTRA``, the extra of edgecvx that brings it;
- ``OPTIONS``: each option, with its values where they are known everywhere;
- ``version(options)``: what is installed, as it names itself;
- ``Runtime(options)``: the runtime, loaded, with ``open(path, threads, name)``, which gives a ``base.Session``. One of
  ``COMPILED`` has ``compile(path)`` too: what has to be made of a file on this device, once, before it can be opened.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from edgecvx.board.engines.base import Refused, UnknownOption

NAMES = ("onnxruntime", "openvino", "tflite", "coreml", "tensorrt", "native")
COMPILED = ("tensorrt",)
"""Runtimes that compile a file on the device; a process of its own does, for it takes memory and minutes."""
TELLING = ("native",)
"""Runtimes whose sessions tell what memory they hold."""
COMPILING = 1500.0
"""Seconds that this may take."""


def engine(name: str) -> ModuleType:
    """The module of a runtime; importing it loads no framework yet.

    Raises:
        Refused: There is none of this name.
    """
    if name not in NAMES:
        raise Refused(f"this runner knows no runtime {name!r}, only {', '.join(NAMES)}")
    return importlib.import_module(f"edgecvx.board.engines.{name}")


def load(name: str, options: Mapping[str, str]) -> Any:
    """Imports a runtime.

    Raises:
        Missing: It is not installed.
        Refused: It does not run on this system, or an option is unknown.
    """
    found = engine(name)
    check_options(name, options, found.OPTIONS)
    return found.Runtime(options)


def check_options(name: str, options: Mapping[str, str], known: Mapping[str, Sequence[str]]) -> None:
    """Refuses an option that a runtime does not have, and a value that the option never has.

    Raises:
        UnknownOption: It is such an option or value.
    """
    for key, value in options.items():
        if key not in known:
            raise UnknownOption(f"option of {name}", key, tuple(known))
        if known[key] and value not in known[key]:
            raise UnknownOption(key, value, known[key])
