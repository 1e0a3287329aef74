"""Reads what a TFLite file says about itself: its operators, tensors and metadata, without running any of it.

Everything here is plain Python over the flatbuffer classes that ship inside ``ai_edge_litert``, so a damaged or hostile
file can raise but not crash. That is why the runtime reads a file here before native code opens it, which trusts it.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, missing_package

IDENTIFIER = b"TFL3"
"""Bytes 4 to 7 of every TFLite file."""
METADATA = "edgecvx"
"""The metadata entry that holds the canonical graph's ``metadata_props`` as JSON."""

_DAMAGE = (struct.error, IndexError, ValueError, TypeError, AttributeError, KeyError, OverflowError, MemoryError)
"""What the flatbuffer classes raise when an offset, a length or a reference points where nothing is."""

_NO_TENSOR = -1
"""Stands for an optional input that is absent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorInfo:
    """A tensor of a file."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int
    """Bytes stored in the file; 0 for a tensor that is fed or computed."""
    values: NDArray[Any] | None = field(default=None, compare=False, repr=False)
    """The numbers stored in the file; None where there are none, or of a type that numpy does not have."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """An operator of a file, in execution order."""

    name: str
    version: int
    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class FileInfo:
    """A TFLite file, read and found consistent."""

    inputs: tuple[TensorInfo, ...]
    outputs: tuple[TensorInfo, ...]
    ops: tuple[Operator, ...]
    metadata: dict[str, bytes]
    """Every named blob of the file."""


def load_schema() -> Any:
    """The flatbuffer classes of the TFLite format.

    Raises:
        RuntimeUnavailableError: ``ai_edge_litert`` is not installed.
    """
    try:
        from ai_edge_litert import schema_py_generated
    except ModuleNotFoundError as error:
        raise missing_package("ai-edge-litert, which brings the TFLite schema,", "tflite") from error
    return schema_py_generated


def read_file(path: Path) -> FileInfo:
    """Reads and checks a TFLite file: every offset, index and length that native code would follow blindly.

    Raises:
        ArtifactError: The file is missing, is no TFLite file, or contradicts itself.
    """
    content = read_bytes(path)
    schema = load_schema()
    try:
        return _Reader(schema, content).file()
    except _DAMAGE as error:
        raise ArtifactError(
            f"{path.name}: this TFLite file is damaged ({error or type(error).__name__}); export or copy it again"
        ) from error


def read_bytes(path: Path) -> bytes:
    """The bytes of a file that at least claims to be TFLite.

    Raises:
        ArtifactError: The file cannot be read, or does not begin as a TFLite file does.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: cannot be read ({error.strerror})") from error
    if content[4:8] != IDENTIFIER:
        raise ArtifactError(f"{path.name}: not a TFLite file (bytes 4 to 7 are {content[4:8]!r}, not {IDENTIFIER!r})")
    return content


class _Reader:
    """Turns the flatbuffer's tables into values, checking each reference on the way."""

    def __init__(self, schema: Any, content: bytes) -> None:
        self.model = schema.Model.GetRootAs(content, 0)
        self.op_names = _names(schema.BuiltinOperator)
        self.types = {number: name.lower() for number, name in _names(schema.TensorType).items()}
        self.codes = list(_each(self.model.OperatorCodes, self.model.OperatorCodesLength()))

    def file(self) -> FileInfo:
        model = self.model
        if model.SubgraphsLength() != 1:
            raise ValueError(f"it holds {model.SubgraphsLength()} graphs, not one")
        graph = model.Subgraphs(0)
        tensors = [self.tensor(t) for t in _each(graph.Tensors, graph.TensorsLength())]
        return FileInfo(
            inputs=_pick(tensors, graph.InputsAsNumpy(), graph.InputsLength()),
            outputs=_pick(tensors, graph.OutputsAsNumpy(), graph.OutputsLength()),
            ops=tuple(self.op(op, tensors) for op in _each(graph.Operators, graph.OperatorsLength())),
            metadata={
                entry.Name().decode(): self.buffer(entry.Buffer()).tobytes()
                for entry in _each(model.Metadata, model.MetadataLength())
            },
        )

    def tensor(self, tensor: Any) -> TensorInfo:
        dtype, name = self.types[tensor.Type()], (tensor.Name() or b"").decode()
        shape = tuple(int(d) for d in tensor.ShapeAsNumpy()) if tensor.ShapeLength() else ()
        stored = self.buffer(tensor.Buffer())
        known = stored.size > 0 and dtype in _ITEM
        if known and stored.size != math.prod(shape) * _ITEM[dtype]:
            raise ValueError(f"tensor {name!r}, {dtype} {list(shape)}, has {stored.size} bytes")
        values = stored.view(dtype).reshape(shape) if known else None
        return TensorInfo(name=name, dtype=dtype, shape=shape, bytes=stored.size, values=values)

    def op(self, op: Any, tensors: list[TensorInfo]) -> Operator:
        code = self.codes[_index(op.OpcodeIndex(), len(self.codes), "operator")]
        custom = code.CustomCode()
        # Files from before schema 3a have only the older, one byte wide number.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        return Operator(
            name=custom.decode() if custom else self.op_names[number],
            version=code.Version(),
            inputs=_pick(tensors, op.InputsAsNumpy(), op.InputsLength()),
            outputs=_pick(tensors, op.OutputsAsNumpy(), op.OutputsLength()),
        )

    def buffer(self, index: int) -> NDArray[np.uint8]:
        buffer = self.model.Buffers(_index(index, self.model.BuffersLength(), "buffer"))
        data: NDArray[np.uint8] = buffer.DataAsNumpy() if buffer.DataLength() else np.empty(0, np.uint8)
        return data


_ITEM = {n: np.dtype(n).itemsize for n in ("float32", "float16", "int32", "uint8", "int64", "bool", "int16", "int8")}
"""Bytes of one element, for the types whose elements are whole bytes."""


def _names(enumeration: type) -> dict[int, str]:
    return {number: name for name, number in vars(enumeration).items() if isinstance(number, int)}


def _each(get: Callable[[int], Any], length: int) -> Iterator[Any]:
    return (get(i) for i in range(length))


def _pick(tensors: list[TensorInfo], numbers: Any, length: int) -> tuple[TensorInfo, ...]:
    if not length:
        return ()
    return tuple(tensors[_index(int(n), len(tensors), "tensor")] for n in numbers if n != _NO_TENSOR)


def _index(number: int, length: int, kind: str) -> int:
    if not 0 <= number < length:
        raise ValueError(f"{kind} {number} of {length}")
    return number
