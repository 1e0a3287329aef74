"""TFLite, in whichever interpreter is here: LiteRT's, the older tflite-runtime's, or TensorFlow's.

They are the same interpreter at different ages, so one session serves all three. Options: ``interpreter`` (a key of
``INTERPRETERS``) asks for one; ``delegate``: XNNPACK is on by default in each, and ``none`` runs the plain kernels.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import importlib.util
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from edgecvx.board.engines.base import THE_FILE, Missing, Session, Tensor, refusals, tensor

TITLE = "TFLite"
PACKAGE = "ai-edge-litert"
EXTRA = "tflite"
INTERPRETERS = {
    "ai_edge_litert": ("ai_edge_litert.interpreter", ("ai-edge-litert",)),
    "tflite_runtime": ("tflite_runtime.interpreter", ("tflite-runtime",)),
    "tensorflow": ("tensorflow.lite.python.interpreter", ("tensorflow", "tensorflow-cpu")),
}
"""Package -> the module of its interpreter, and the distributions it comes in; the first that is installed serves."""
OPTIONS: Mapping[str, Sequence[str]] = {"interpreter": tuple(INTERPRETERS), "delegate": ("xnnpack", "none")}


def chosen(options: Mapping[str, str]) -> str:
    """The interpreter to use: the one asked for, or the first that is installed."""
    wanted = options.get("interpreter")
    for name in INTERPRETERS if wanted is None else (wanted,):
        if importlib.util.find_spec(name) is not None:
            return name
    raise Missing(PACKAGE if wanted is None else INTERPRETERS[wanted][1][0])


def version(options: Mapping[str, str] = MappingProxyType({})) -> str:
    """The interpreter that would run here, and its version: ``ai-edge-litert 2.3.0``."""
    name = chosen(options)
    for distribution in INTERPRETERS[name][1]:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return f"{distribution} {importlib.metadata.version(distribution)}"
    return f"{name} (of unknown version)"


class Runtime:
    """An interpreter's package, loaded."""

    def __init__(self, options: Mapping[str, str]) -> None:
        self.version = version(options)
        self._module: Any = importlib.import_module(INTERPRETERS[chosen(options)][0])
        kinds = self._module.OpResolverType
        is_plain = options.get("delegate", "xnnpack") == "none"
        self._kernels = kinds.BUILTIN_WITHOUT_DEFAULT_DELEGATES if is_plain else kinds.AUTO

    def open(self, path: Path, threads: int | None, name: str = THE_FILE) -> TFLiteSession:
        """Opens a ``.tflite`` file; the interpreter follows the offsets in it without checking them."""
        with refusals(f"TFLite cannot open {name}", path):
            interpreter = self._module.Interpreter(
                model_path=str(path), num_threads=threads, experimental_op_resolver_type=self._kernels
            )
            interpreter.allocate_tensors()
        return TFLiteSession(interpreter, threads)


class TFLiteSession(Session):
    """An open TFLite file."""

    def __init__(self, interpreter: Any, threads: int | None) -> None:
        super().__init__(interpreter.get_input_details(), interpreter.get_output_details())
        self._interpreter, self.threads = interpreter, threads
        self._input = self._read[0]["index"]
        self._outputs = [detail["index"] for detail in self._written]

    @functools.cached_property
    def backend(self) -> str | None:
        """Who really computes."""
        return delegated(self._interpreter)

    def run(self, batch: Any) -> Sequence[Any]:
        """One run."""
        interpreter = self._interpreter
        interpreter.set_tensor(self._input, batch)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in self._outputs]

    def _describe(self, value: Any) -> Tensor:
        shape = [int(size) for size in value["shape"]]
        return tensor(str(value["name"]), shape, value["dtype"].__name__, channels_last=True)


def delegated(interpreter: Any) -> str | None:
    """How many of the file's operations XNNPACK took, out of the interpreter itself.

    A delegate adds nodes of its own behind the file's, and names the tensors at their edges. What it took is every
    operation on the way from its outputs back to its inputs.
    """
    list_operations = getattr(interpreter, "_get_ops_details", None)
    if list_operations is None:
        return None
    operations = list_operations()
    own = [op for op in operations if op["op_name"] != "DELEGATE"]
    maker = {int(tensor): i for i, op in enumerate(own) for tensor in op["outputs"]}
    taken: set[int] = set()
    for node in operations:
        if node["op_name"] != "DELEGATE":
            continue
        edge = {int(tensor) for tensor in node["inputs"]}
        waiting = [int(tensor) for tensor in node["outputs"]]
        while waiting:
            operation = maker.get(waiting.pop())
            if operation is None or operation in taken:
                continue
            taken.add(operation)
            waiting += [t for t in map(int, own[operation]["inputs"]) if t not in edge]
    return f"XNNPACK, {len(taken)} of {len(own)} nodes" if taken else f"plain kernels, {len(own)} nodes"
