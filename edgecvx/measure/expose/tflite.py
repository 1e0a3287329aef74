"""TFLite: an output is the number of a tensor, in the subgraph and in the signature."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecvx.errors import ArtifactError
from edgecvx.export.tflite_schema import load_schema, read_bytes, read_file
from edgecvx.export.tflite_writer import pack


def inner_tensors(path: Path) -> Mapping[str, str]:
    """Canonical name -> the file's own name; a lowering keeps them the same. Float tensors only."""
    graph, kinds = _read(path).subgraphs[0], load_schema().TensorType
    computed = (graph.tensors[i] for op in graph.operators for i in op.outputs)
    floats = (tensor.name.decode() for tensor in computed if tensor.type in (kinds.FLOAT32, kinds.FLOAT16))
    return {name: name for name in floats}


def expose(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The file with these tensors appended to its outputs."""
    model = _read(path)
    graph = model.subgraphs[0]
    number = {tensor.name.decode(): i for i, tensor in enumerate(graph.tensors)}
    if missing := [name for name in names if name not in number]:
        raise ArtifactError(f"{path.name} has no tensor {missing[0]!r}")
    added = [name for name in names if number[name] not in graph.outputs]
    graph.outputs = np.asarray([*graph.outputs, *(number[name] for name in added)], dtype=np.int32)
    for signature in model.signatureDefs or ():
        signature.outputs.extend(_entry(name, number[name]) for name in added)
    return {".tflite": pack(model)}


def _entry(name: str, tensor: int) -> Any:
    entry = load_schema().TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def _read(path: Path) -> Any:
    read_file(path)  # names what is damaged; what it lets through can be unpacked
    return load_schema().ModelT.InitFromPackedBuf(read_bytes(path), 0)
