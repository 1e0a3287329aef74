"""TFLite: an output is the number of a tensor, in the subgraph and in the signature.

A canonical value that the file has only in int8 is looked at through a DEQUANTIZE of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecvx.errors import ArtifactError
from edgecvx.export.tflite.schema import load_schema, read_bytes, read_file
from edgecvx.export.tflite.writer import new_code, new_entry, new_operator, new_tensor, pack

INT8 = ".int8"
"""Ends the name of a canonical value on its grid."""


def inner_tensors(path: Path) -> Mapping[str, str]:
    """Canonical name -> the name it has in the debug build; a lowering keeps them the same."""
    graph, kinds = _read(path).subgraphs[0], load_schema().TensorType
    computed = [graph.tensors[i] for op in graph.operators for i in op.outputs]
    floats = [tensor.name.decode() for tensor in computed if tensor.type in (kinds.FLOAT32, kinds.FLOAT16)]
    int8 = [tensor.name.decode().removesuffix(INT8) for tensor in computed if tensor.type == kinds.INT8]
    return {name: name for name in (*floats, *int8)}


def expose(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The file with these tensors appended to its outputs."""
    model = _read(path)
    graph = model.subgraphs[0]
    number = {tensor.name.decode(): i for i, tensor in enumerate(graph.tensors)}
    for name in names:
        if name not in number and name + INT8 in number:
            number[name] = _dequantized(model, number[name + INT8], name)
    if missing := [name for name in names if name not in number]:
        raise ArtifactError(f"{path.name} has no tensor {missing[0]!r}")
    added = [name for name in names if number[name] not in graph.outputs]
    graph.outputs = np.asarray([*graph.outputs, *(number[name] for name in added)], dtype=np.int32)
    for signature in model.signatureDefs or ():
        signature.outputs.extend(new_entry(name, number[name]) for name in added)
    return {".tflite": pack(model)}


def _dequantized(model: Any, tensor: int, name: str) -> int:
    """Appends the float form of an int8 tensor."""
    graph, code, number = model.subgraphs[0], len(model.operatorCodes), len(model.subgraphs[0].tensors)
    model.operatorCodes.append(new_code("DEQUANTIZE", version=2))  # the first with int8
    graph.tensors.append(new_tensor(name, graph.tensors[tensor].shape, "float32"))
    graph.operators.append(new_operator(code, [tensor], [number], load_schema().DequantizeOptionsT()))
    return number


def _read(path: Path) -> Any:
    read_file(path)  # names what is damaged; what it lets through can be unpacked
    return load_schema().ModelT.InitFromPackedBuf(read_bytes(path), 0)
