"""Core ML: an inner tensor is the result of an operation; an output is a name in the program and in its description."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from edgecvx.errors import ArtifactError
from edgecvx.export.coreml.program import CONSTEXPR, load_protos, read_package

NAMES = "edgecvx.names"
"""Metadata key: MIL identifier -> canonical name, where MIL cannot write that name."""


def inner_tensors(path: Path) -> Mapping[str, str]:
    """Canonical name -> MIL identifier."""
    package = read_package(path)
    try:
        renamed: dict[str, str] = json.loads(package.metadata.get(NAMES, "{}"))
    except json.JSONDecodeError as error:
        raise ArtifactError(f"{path.name}: its list of canonical names is no JSON") from error
    computed = [
        name
        for op in package.ops
        if op.kind != "const" and not op.kind.startswith(CONSTEXPR)
        for name, kind in op.outputs
        if kind.dtype in ("float16", "float32")  # integers cannot be an output, and their floats stand beside them
    ]
    return {renamed.get(name, name): name for name in computed}


def expose(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The package with these values among the program's outputs."""
    read_package(path)  # refuses what is damaged, with a sentence
    files = {
        f".mlpackage/{p.relative_to(path).as_posix()}": p.read_bytes() for p in sorted(path.rglob("*")) if p.is_file()
    }
    program = next(name for name in files if name.endswith(".mlmodel"))
    spec = load_protos().Model()
    spec.ParseFromString(files[program])
    (function,) = spec.mlProgram.functions.values()
    block = function.block_specializations[function.opset]
    types = {output.name: output.type for op in block.operations for output in op.outputs}
    present = {feature.name for feature in spec.description.output}
    for name in names:
        if name not in types:
            raise ArtifactError(f"{path.name} computes no value {name!r}")
        if name not in present:
            block.outputs.append(name)
            _describe(spec.description.output.add(), name, types[name].tensorType)
    files[program] = spec.SerializeToString(deterministic=True)
    return files


def _describe(feature: Any, name: str, tensor: Any) -> None:
    feature.name = name
    array = feature.type.multiArrayType
    array.shape.extend(int(d.constant.size) for d in tensor.dimensions)
    half = tensor.dataType == 10  # FLOAT16 among MIL's data types
    array.dataType = array.FLOAT16 if half else array.FLOAT32
