"""Reading a saved ``.mlpackage`` as plain values: its inputs and outputs, its operations and their constants.

Only the file is read, by its public format; nothing is shared with what wrote it. The protobuf classes are coremltools'
generated ones, loaded without importing coremltools itself, which takes a second and starts frameworks.
"""

from __future__ import annotations

import importlib
import importlib.util
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType, ModuleType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError, missing_package
from edgecvx.export.coreml.package import PackageFolder

Array: TypeAlias = NDArray[Any]

CONSTEXPR = "constexpr_"
"""How operations on constants begin: what they give is a constant of the program, in a form that takes less room."""

_TYPES: Mapping[int, str] = MappingProxyType(
    {1: "bool", 2: "string", 10: "float16", 11: "float32", 12: "float64", 21: "int8", 22: "int16", 23: "int32"}
    | {24: "int64", 31: "uint8", 32: "uint16", 33: "uint32"}
)
"""MIL's DataType by number."""


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


def read_package(path: Path) -> Package:
    """Opens a package.

    Raises:
        ArtifactError: It is damaged, or not an ML program.
        RuntimeUnavailableError: The protobuf classes are missing.
    """
    protos = load_protos()
    folder = PackageFolder(path)
    spec = protos.Model()
    try:
        spec.ParseFromString(folder.program())
    except importlib.import_module("google.protobuf.message").DecodeError as error:
        raise folder.damaged(f"model.mlmodel is damaged: {error}") from error
    if spec.WhichOneof("Type") != "mlProgram":
        raise folder.damaged(f"holds {spec.WhichOneof('Type') or 'nothing'}, not an ML program")
    functions = spec.mlProgram.functions
    if list(functions) != ["main"]:
        raise folder.damaged(f"has the functions {sorted(functions)}, edgecvx reads one named main")
    function = functions["main"]
    if function.opset not in function.block_specializations:
        raise folder.damaged(f"has no program for its own opset {function.opset!r}")
    block = function.block_specializations[function.opset]
    return Package(
        inputs=tuple(_feature(f) for f in spec.description.input),
        outputs=tuple(_feature(f) for f in spec.description.output),
        ops=tuple(_op(o, folder) for o in block.operations),
        specification=spec.specificationVersion,
        opset=function.opset,
        metadata=MappingProxyType(dict(spec.description.metadata.userDefined)),
    )


def load_protos() -> ModuleType:
    """The generated ``Model_pb2`` of coremltools, without coremltools (30 ms in place of seconds)."""
    if sys.modules.get("coremltools") is not None:
        return importlib.import_module("coremltools.proto.Model_pb2")
    name = "edgecvx.export.coreml._proto"
    if name not in sys.modules:
        found = importlib.util.find_spec("coremltools")
        if found is None or found.origin is None:
            raise missing_package("coremltools", "coreml")
        sys.modules[name] = package = ModuleType(name)  # the generated modules import each other relative to it
        package.__path__ = [str(Path(found.origin).parent / "proto")]
    return importlib.import_module(f"{name}.Model_pb2")


def _op(op: Any, folder: PackageFolder) -> Op:
    if op.blocks or not op.outputs:
        raise folder.damaged(
            f"has an operation {op.type!r} with control flow or without output, which edgecvx does not read"
        )
    inputs: dict[str, Any] = {}
    for name, argument in op.inputs.items():
        bound = [
            Named(name=b.name) if b.WhichOneof("binding") == "name" else _value(b.value, folder)
            for b in argument.arguments
        ]
        inputs[name] = bound[0] if len(bound) == 1 else tuple(bound)
    if op.type.startswith(CONSTEXPR):  # up to iOS 17 its arguments are attributes, as a constant's value is
        inputs |= {name: _value(v, folder) for name, v in op.attributes.items() if name != "name"}
    value = _value(op.attributes["val"], folder) if op.type == "const" else None
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


def _value(value: Any, folder: PackageFolder) -> Any:
    """A constant: an array, or a string, or a tuple of strings."""
    if value.WhichOneof("value") == "blobFileValue":
        blob, kind = value.blobFileValue, _type(value.type)
        if kind.shape is None:
            raise folder.damaged(f"takes a {kind.dtype} from its weight file, which holds tensors")
        return folder.weight(blob.fileName, blob.offset, kind.dtype, kind.shape)
    immediate = value.immediateValue
    if immediate.WhichOneof("value") == "list":
        return tuple(_value(v, folder) for v in immediate.list.values)
    if immediate.WhichOneof("value") != "tensor":
        raise folder.damaged(f"has a {immediate.WhichOneof('value')} constant, which edgecvx does not read")
    kind, tensor = _type(value.type), immediate.tensor
    field_name = tensor.WhichOneof("value")
    if field_name is None or kind.shape is None:
        raise folder.damaged("has a constant without a value")
    content = getattr(tensor, field_name).values
    if kind.dtype == "string":
        return content[0] if len(content) == 1 else tuple(content)
    try:  # float16 and the small integers stand as raw bytes; the rest as protobuf's own lists
        array = np.frombuffer(content, kind.dtype) if field_name == "bytes" else np.asarray(content, kind.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise folder.damaged(f"has a constant that is no {kind.dtype}: {error}") from error
    if array.size != math.prod(kind.shape):
        raise folder.damaged(f"has a constant of {array.size} values for shape {kind.shape}")
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
