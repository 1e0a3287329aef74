"""Puts a TFLite file together: tensors, constants, operators, signature, metadata, and the flatbuffer around them.

The file is packed with the flatbuffer classes that ship inside ``ai_edge_litert``, in the order things were added, so
that the same graph gives the same bytes. Here is the format; what a network becomes is decided in ``tflite_ops``.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ExportError
from edgecvx.export.tflite.schema import IDENTIFIER, load_schema

ALIGNMENT = 16
"""What the schema demands of buffer data (``force_align: 16``); kernels load vectors from the mapped file."""
SCHEMA_VERSION = 3
SIGNATURE = "serving_default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantization:
    """``real = scale * (stored - zero_point)``, per tensor (one scale) or per index of ``axis``."""

    scales: tuple[float, ...]
    zero_point: int = 0
    axis: int = 0


class Writer:
    """Collects one subgraph and packs it. Tensors are numbered in the order they are made."""

    def __init__(self) -> None:
        self.schema = load_schema()
        self._tensors: list[Any] = []
        self._buffers: list[bytes] = [b""]  # number 0 is the empty buffer of every activation
        self._buffer_of: dict[bytes, int] = {}
        self._constants: dict[tuple[object, ...], int] = {}
        self._codes: dict[tuple[str, int], int] = {}
        self._operators: list[Any] = []
        self._metadata: list[Any] = []

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: str = "float32",
        *,
        quantization: Quantization | None = None,
        buffer: int = 0,
    ) -> int:
        """A tensor that is computed, or fed; with a buffer, one that is stored."""
        entry = new_tensor(name, shape, dtype, buffer)
        if quantization is not None:
            entry.quantization = self.schema.QuantizationParametersT()
            entry.quantization.scale = np.asarray(quantization.scales, dtype=np.float32)
            entry.quantization.zeroPoint = np.full(len(quantization.scales), quantization.zero_point, np.int64)
            entry.quantization.quantizedDimension = quantization.axis
        self._tensors.append(entry)
        return len(self._tensors) - 1

    def constant(self, name: str, array: NDArray[Any], *, quantization: Quantization | None = None) -> int:
        """A tensor stored in the file. Equal content is stored once; an equal tensor is reused."""
        array = np.asarray(array, order="C")
        data = array.astype(array.dtype.newbyteorder("<")).tobytes()
        key = (data, array.dtype.name, array.shape, quantization)
        if key not in self._constants:
            self._constants[key] = self.tensor(
                name, array.shape, array.dtype.name, quantization=quantization, buffer=self._buffer(data)
            )
        return self._constants[key]

    def operator(
        self, op: str, inputs: Sequence[int], outputs: Sequence[int], options: Any = None, *, version: int = 1
    ) -> None:
        """Appends an operator.

        Args:
            op: Its name in the schema (``CONV_2D``).
            inputs: Tensor numbers.
            outputs: Tensor numbers.
            options: An ``...OptionsT`` of the schema.
            version: The lowest operator version that has everything this use needs; an older interpreter refuses
                the file for a higher one, and computes something else for a lower one.
        """
        code = self._codes.setdefault((op, version), len(self._codes))
        self._operators.append(new_operator(code, inputs, outputs, options))

    def metadata(self, name: str, content: bytes) -> None:
        """Adds a named blob to the file's metadata."""
        entry = self.schema.MetadataT()
        entry.name, entry.buffer = name, self._buffer(content)
        self._metadata.append(entry)

    def shape(self, tensor: int) -> tuple[int, ...]:
        """The shape of a tensor made before."""
        return tuple(int(d) for d in self._tensors[tensor].shape)

    def name(self, tensor: int) -> str:
        """The name of a tensor made before."""
        return str(self._tensors[tensor].name)

    def dtype(self, tensor: int) -> str:
        """The element type of a tensor made before: ``float32``."""
        types: dict[str, int] = vars(self.schema.TensorType)
        return next(name.lower() for name, number in types.items() if number == self._tensors[tensor].type)

    @property
    def used(self) -> tuple[tuple[str, int], ...]:
        """The operators in use, with their versions."""
        return tuple(self._codes)

    def finish(self, inputs: Mapping[str, int], outputs: Mapping[str, int], description: str) -> bytes:
        """Packs the file.

        Args:
            inputs: Signature name -> tensor.
            outputs: Signature name -> tensor.
            description: One line about the file.
        """
        s = self.schema
        subgraph = s.SubGraphT()
        subgraph.name = "main"
        subgraph.tensors, subgraph.operators = self._tensors, self._operators
        subgraph.inputs, subgraph.outputs = _int32(inputs.values()), _int32(outputs.values())
        signature = s.SignatureDefT()
        signature.signatureKey, signature.subgraphIndex = SIGNATURE, 0
        signature.inputs, signature.outputs = (list(map(new_entry, x, x.values())) for x in (inputs, outputs))
        model = s.ModelT()
        model.version, model.description = SCHEMA_VERSION, description
        model.operatorCodes = [new_code(op, version) for op, version in self._codes]
        model.subgraphs, model.signatureDefs, model.metadata = [subgraph], [signature], self._metadata
        model.buffers = [s.BufferT(data=data) for data in self._buffers]
        return pack(model)

    def _buffer(self, data: bytes) -> int:
        if data not in self._buffer_of:
            self._buffer_of[data] = len(self._buffers)
            self._buffers.append(data)
        return self._buffer_of[data]


def new_tensor(name: str, shape: Iterable[int], dtype: str, buffer: int = 0) -> Any:
    """A tensor as the schema has it; buffer 0 is that of what is computed or fed."""
    schema = load_schema()
    entry = schema.TensorT()
    entry.name, entry.shape, entry.buffer = name, _int32(shape), buffer
    entry.type, entry.hasRank = getattr(schema.TensorType, dtype.upper()), True
    return entry


def new_operator(code: int, inputs: Iterable[int], outputs: Iterable[int], options: Any) -> Any:
    """An operator as the schema has it: the number of its code, and those of its tensors."""
    schema = load_schema()
    entry = schema.OperatorT()
    entry.opcodeIndex, entry.inputs, entry.outputs = code, _int32(inputs), _int32(outputs)
    if options is not None:
        entry.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        entry.builtinOptions = options
    return entry


def new_code(op: str, version: int) -> Any:
    """An operator's kind, of which a file has each once."""
    schema = load_schema()
    number = getattr(schema.BuiltinOperator, op)
    entry = schema.OperatorCodeT()
    entry.builtinCode, entry.version = number, version
    # The field that readers before schema 3a look at; it is one byte wide, and 127 says "look at the other one".
    entry.deprecatedBuiltinCode = min(number, 127)
    return entry


def new_entry(name: str, tensor: int) -> Any:
    """A line of a signature."""
    entry = load_schema().TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def _int32(values: Iterable[int]) -> NDArray[np.int32]:
    return np.asarray(list(values), dtype=np.int32)


def pack(model: Any) -> bytes:
    """The flatbuffer of a ``ModelT``, with every buffer's data aligned; its own packer forgets ``force_align``.

    Vectors of equal content are stored once: a file of int8 weights states eight bytes of zero point per channel.

    Raises:
        ExportError: It would be larger than a flatbuffer can be.
    """
    import flatbuffers

    contents = [b"" if buffer.data is None else bytes(buffer.data) for buffer in model.buffers]
    payload, aligned = sum(map(len, contents)), _aligned_buffer(load_schema())
    model = copy.copy(model)
    model.buffers = [aligned(data) for data in contents]
    try:
        builder = _sharing_builder()(payload + (1 << 16))
        builder.Finish(model.Pack(builder), file_identifier=IDENTIFIER)
        return bytes(builder.Output())
    except flatbuffers.builder.BuilderSizeError as error:
        raise ExportError(f"{payload} bytes of weights do not fit into a TFLite file, which ends at 2 GiB") from error


def _sharing_builder() -> Any:
    import flatbuffers

    class SharingBuilder(flatbuffers.Builder):  # type: ignore[misc]
        def __init__(self, size: int) -> None:
            super().__init__(size)
            self._vectors: dict[tuple[str, bytes], int] = {}

        def CreateNumpyVector(self, x: NDArray[Any]) -> int:  # noqa: N802 (the library's name)
            key = (x.dtype.str, x.tobytes())
            if key not in self._vectors:
                self._vectors[key] = super().CreateNumpyVector(x)
            return self._vectors[key]

    return SharingBuilder


def _aligned_buffer(schema: Any) -> Any:
    class AlignedBuffer(schema.BufferT):  # type: ignore[misc]
        def Pack(self, builder: Any) -> Any:  # noqa: N802 (the schema's name)
            data = None
            if self.data:
                builder.StartVector(1, len(self.data), ALIGNMENT)
                builder.head -= len(self.data)
                builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
                data = builder.EndVector()
            schema.BufferStart(builder)
            if data is not None:
                schema.BufferAddData(builder, data)
            return schema.BufferEnd(builder)

    return AlignedBuffer
