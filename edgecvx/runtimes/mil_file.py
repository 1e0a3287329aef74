"""Reading a saved ``.mlpackage``: its manifest, its ML program and its weight file, as plain values.

Only the file is read, by its public format; nothing is shared with what wrote it. The protobuf classes are coremltools'
generated ones, loaded without importing coremltools itself, which takes a second and starts frameworks. A package is a
foreign file: every path, offset and shape in it is checked before it is used.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import math
import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, missing_package
from edgecvx.export.opinfo import OpInfo

Array: TypeAlias = NDArray[Any]
Constant: TypeAlias = "Array | str | bool | tuple[str, ...]"
Argument: TypeAlias = "str | Constant"

_TYPES: Mapping[int, str] = MappingProxyType(
    {1: "bool", 2: "string", 10: "float16", 11: "float32", 12: "float64", 21: "int8", 22: "int16", 23: "int32"}
    | {24: "int64", 31: "uint8", 32: "uint16", 33: "uint32"}
)
"""MIL's DataType by number."""
_BLOB_TYPES: Mapping[int, str] = MappingProxyType(
    {1: "float16", 2: "float32", 3: "uint8", 4: "int8", 6: "int16", 7: "uint16", 14: "int32", 15: "uint32"}
)
"""The weight file's own numbers for types."""
_BLOB_VERSION = 2
_SENTINEL = 0xDEADBEEF
_HEADER = struct.Struct("<II56x")
"""Weight file: number of blobs, version."""
_ENTRY = struct.Struct("<IIQQ40x")
"""Blob: sentinel, type, bytes, offset of the data from the file's start. Headers and data start at multiples of 64."""
_LARGEST_SPEC = 256 * 1024 * 1024
"""Bytes. The weights are beside the program, which stays below a megabyte."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Type:
    """A tensor's type; ``dtype`` is a numpy name, or ``string``; ``shape`` is None for what is no tensor."""

    dtype: str
    shape: tuple[int, ...] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """The name of a value."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Op:
    """One operation: its inputs are names of values, or constants written in place."""

    kind: str
    inputs: Mapping[str, Named | Any]
    outputs: tuple[tuple[str, Type], ...]
    value: Any = None
    """Of a ``const``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """An input or output as an app sees it."""

    name: str
    kind: str
    """``array``, ``image``, ``string`` or ``dictionary``."""
    shape: tuple[int, ...] = ()
    dtype: str = ""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Package:
    """An opened package."""

    inputs: tuple[Feature, ...]
    outputs: tuple[Feature, ...]
    ops: tuple[Op, ...]
    specification: int
    """Core ML's specification version: 7 is iOS 16, 8 is iOS 17."""
    opset: str
    metadata: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))


def read_ops(path: Path) -> tuple[OpInfo, ...]:
    """Every operation of a package in order, without running anything.

    Raises:
        ArtifactError: The package is damaged.
    """
    found = []
    constants: dict[str, Array] = {}
    counted: set[str] = set()
    for op in read_package(path).ops:
        name, kind = op.outputs[0]
        if op.kind == "const":
            if isinstance(op.value, np.ndarray):
                constants[name] = op.value
            continue
        read = {v.name for v in op.inputs.values() if isinstance(v, Named) and v.name in constants}
        found.append(
            OpInfo(
                op=op.kind,
                name=name,
                dtype=kind.dtype,
                shape=kind.shape or (),
                const_bytes=sum(constants[n].nbytes for n in read - counted),
                macs=_macs(op, constants),
            )
        )
        counted |= read
    return tuple(found)


def _macs(op: Op, constants: Mapping[str, Array]) -> int:
    """Multiply-accumulates: what one output value takes, times the output values."""
    weight = op.inputs.get("weight")
    if op.kind not in ("conv", "linear") or not isinstance(weight, Named) or weight.name not in constants:
        return 0
    return math.prod(op.outputs[0][1].shape or ()) * math.prod(constants[weight.name].shape[1:])


def read_package(path: Path) -> Package:
    """Opens a package.

    Raises:
        ArtifactError: It is damaged, or not an ML program.
        RuntimeUnavailableError: The protobuf classes are missing.
    """
    protos = load_protos()
    data = path / "Data"
    model_file = _item(path, data)
    content = _read(model_file, path)
    if len(content) > _LARGEST_SPEC:
        raise ArtifactError(f"{path.name}: a program of {len(content)} bytes is not one edgecvx writes or reads")
    spec = protos.Model()
    try:
        spec.ParseFromString(content)
    except importlib.import_module("google.protobuf.message").DecodeError as error:
        raise ArtifactError(f"{path.name}: {model_file.name} is damaged: {error}") from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise ArtifactError(f"{path.name}: holds a {spec.WhichOneof('Type') or 'nothing'}, not an ML program")
    program = spec.mlProgram
    if list(program.functions) != ["main"]:
        raise ArtifactError(f"{path.name}: has the functions {sorted(program.functions)}, edgecvx reads one named main")
    function = program.functions["main"]
    if function.opset not in function.block_specializations:
        raise ArtifactError(f"{path.name}: has no program for its own opset {function.opset!r}")
    block = function.block_specializations[function.opset]
    weights = _Weights(path, model_file.parent)
    return Package(
        inputs=tuple(_feature(f) for f in spec.description.input),
        outputs=tuple(_feature(f) for f in spec.description.output),
        ops=tuple(_op(o, weights) for o in block.operations),
        specification=spec.specificationVersion,
        opset=function.opset,
        metadata=MappingProxyType(dict(spec.description.metadata.userDefined)),
    )


def load_protos() -> ModuleType:
    """The generated ``Model_pb2`` of coremltools, without coremltools (30 ms in place of seconds)."""
    if "coremltools" in sys.modules:
        return importlib.import_module("coremltools.proto.Model_pb2")
    name = "edgecvx.runtimes._coreml_proto"
    if name not in sys.modules:
        found = importlib.util.find_spec("coremltools")
        if found is None or found.origin is None:
            raise missing_package("coremltools", "coreml")
        folder = Path(found.origin).parent / "proto"
        spec = importlib.util.spec_from_file_location(
            name, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        if spec is None or spec.loader is None:
            raise missing_package("coremltools", "coreml")
        package = importlib.util.module_from_spec(spec)
        sys.modules[name] = package  # the generated modules import each other relative to it
        spec.loader.exec_module(package)
    return importlib.import_module(f"{name}.Model_pb2")


def _item(path: Path, data: Path) -> Path:
    """The model's file, as the manifest names it."""
    try:
        manifest = json.loads(_read(path / "Manifest.json", path))
        entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
        relative = PurePosixPath(str(entry["path"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{path.name}: Manifest.json does not name a model ({error!r})") from error
    return _inside(data, relative, path)


def _inside(folder: Path, relative: PurePosixPath, path: Path) -> Path:
    """A file of the package; one that lies elsewhere, through ``..`` or a link, is refused."""
    target = folder / relative
    odd = relative.is_absolute() or ".." in relative.parts or "\0" in str(relative)
    if odd or not target.resolve().is_relative_to(path.resolve()):
        raise ArtifactError(f"{path.name}: names the file {str(relative)!r}, which is not inside the package")
    return target


def _read(file: Path, path: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path.name}: {file.name} cannot be read: {error.strerror}") from error


class _Weights:
    """The weight files of a package, read once each."""

    def __init__(self, package: Path, folder: Path) -> None:
        self._package = package
        self._folder = folder
        self._files: dict[str, bytes] = {}

    def array(self, name: str, offset: int, kind: Type) -> Array:
        """The constant whose blob header stands at ``offset``."""
        content, where = self._file(name), f"{self._package.name}: weight at {offset}"
        if offset + _ENTRY.size > len(content):
            raise ArtifactError(f"{where} starts behind the end of {name}")
        sentinel, number, size, start = _ENTRY.unpack_from(content, offset)
        if sentinel != _SENTINEL:
            raise ArtifactError(f"{where} has no blob header; {name} is damaged or of another format")
        if _BLOB_TYPES.get(number) != kind.dtype or kind.shape is None:
            raise ArtifactError(f"{where} is of blob type {number}, the program wants {kind.dtype}")
        count = math.prod(kind.shape)
        if size != count * np.dtype(kind.dtype).itemsize or start + size > len(content):
            raise ArtifactError(f"{where} has {size} bytes from {start}, the program wants {kind.dtype} {kind.shape}")
        return np.frombuffer(content, kind.dtype, count, start).reshape(kind.shape)

    def _file(self, name: str) -> bytes:
        if name not in self._files:
            relative = PurePosixPath(name.removeprefix("@model_path/"))
            content = _read(_inside(self._folder, relative, self._package), self._package)
            if len(content) < _HEADER.size or _HEADER.unpack_from(content)[1] != _BLOB_VERSION:
                raise ArtifactError(f"{self._package.name}: {name} is no weight file of version {_BLOB_VERSION}")
            self._files[name] = content
        return self._files[name]


def _op(op: Any, weights: _Weights) -> Op:
    if op.blocks or not op.outputs:
        raise ArtifactError(f"the program has a {op.type} with control flow or no output, which edgecvx does not read")
    inputs: dict[str, Any] = {}
    for name, argument in op.inputs.items():
        bound = [
            Named(name=b.name) if b.WhichOneof("binding") == "name" else _value(b.value, weights)
            for b in argument.arguments
        ]
        inputs[name] = bound[0] if len(bound) == 1 else tuple(bound)
    value = _value(op.attributes["val"], weights) if op.type == "const" else None
    outputs = tuple((o.name, _type(o.type)) for o in op.outputs)
    return Op(kind=op.type, inputs=MappingProxyType(inputs), outputs=outputs, value=value)


def _type(kind: Any) -> Type:
    if kind.WhichOneof("type") != "tensorType":
        return Type(dtype=(kind.WhichOneof("type") or "unknown").removesuffix("Type"), shape=None)
    tensor = kind.tensorType
    if tensor.dataType not in _TYPES:
        raise ArtifactError(f"the program has a tensor of MIL type {tensor.dataType}, which edgecvx does not read")
    if any(d.WhichOneof("dimension") != "constant" for d in tensor.dimensions):
        raise ArtifactError("the program has a tensor of unknown shape; edgecvx reads static shapes")
    return Type(dtype=_TYPES[tensor.dataType], shape=tuple(int(d.constant.size) for d in tensor.dimensions))


def _value(value: Any, weights: _Weights) -> Any:
    """A constant: an array, or a string, or a tuple of strings."""
    if value.WhichOneof("value") == "blobFileValue":
        blob = value.blobFileValue
        return weights.array(blob.fileName, blob.offset, _type(value.type))
    immediate = value.immediateValue
    if immediate.WhichOneof("value") == "list":
        return tuple(_value(v, weights) for v in immediate.list.values)
    if immediate.WhichOneof("value") != "tensor":
        raise ArtifactError(f"the program has a {immediate.WhichOneof('value')} constant, which edgecvx does not read")
    kind, tensor = _type(value.type), immediate.tensor
    field_name = tensor.WhichOneof("value")
    if field_name is None or kind.shape is None:
        raise ArtifactError("the program has a constant without a value")
    content = getattr(tensor, field_name).values
    if kind.dtype == "string":
        return content[0] if len(content) == 1 else tuple(content)
    try:  # float16 and the small integers stand as raw bytes; the rest as protobuf's own lists
        array = np.frombuffer(content, kind.dtype) if field_name == "bytes" else np.asarray(content, kind.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise ArtifactError(f"the program has a constant that is no {kind.dtype}: {error}") from error
    if array.size != math.prod(kind.shape):
        raise ArtifactError(f"the program has a constant of {array.size} values for shape {kind.shape}")
    return array.reshape(kind.shape)


def _feature(feature: Any) -> Feature:
    kind = feature.type.WhichOneof("Type")
    if kind == "multiArrayType":
        array = feature.type.multiArrayType
        # A data type is 0x10000 for floats, 0x20000 for integers, and the number of bits.
        dtypes = {65552: "float16", 65568: "float32", 65600: "float64", 131104: "int32", 131080: "int8"}
        if array.dataType not in dtypes:
            raise ArtifactError(f"{feature.name}: array type {array.dataType} is not one edgecvx reads")
        return Feature(name=feature.name, kind="array", shape=tuple(array.shape), dtype=dtypes[array.dataType])
    if kind == "imageType":
        image = feature.type.imageType
        if image.colorSpace != image.RGB:
            raise ArtifactError(f"{feature.name}: edgecvx reads RGB pictures, this is of another colour space")
        return Feature(name=feature.name, kind="image", shape=(1, 3, image.height, image.width), dtype="uint8")
    plain = {"stringType": "string", "int64Type": "integer", "dictionaryType": "dictionary"}
    if kind not in plain:
        raise ArtifactError(f"{feature.name}: a feature of {kind} is not one edgecvx reads")
    return Feature(name=feature.name, kind=plain[kind])
