"""TFLite: an output is the number of a tensor, in the subgraph and in the signature."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecvx.errors import ArtifactError
from edgecvx.export.tflite_schema import load_schema


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
    return {".tflite": _pack(model)}


def _entry(name: str, tensor: int) -> Any:
    entry = load_schema().TensorMapT()
    entry.name, entry.tensorIndex = name, tensor
    return entry


def _pack(model: Any) -> bytes:
    """The flatbuffer. Its constants come out aligned to 4 bytes, not to 16: slower to load, the same numbers."""
    import flatbuffers

    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _read(path: Path) -> Any:
    content = path.read_bytes()
    if content[4:8] != b"TFL3":
        raise ArtifactError(f"{path.name} is no TFLite file")
    try:
        model = load_schema().ModelT.InitFromPackedBuf(content, 0)
    except (struct.error, IndexError, ValueError, TypeError, AttributeError, UnicodeDecodeError) as error:
        raise ArtifactError(f"{path.name} is damaged: its flatbuffer cannot be read ({error})") from error
    if not model.subgraphs:
        raise ArtifactError(f"{path.name} holds no graph")
    return model
