"""ONNX: inner tensors are values of the graph; an output is a name in a list."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from edgecvx.errors import ArtifactError

if TYPE_CHECKING:
    import onnx


def inner_tensors(path: Path) -> Mapping[str, str]:
    """Canonical name -> the file's own name; a lowering keeps them the same."""
    return {name: name for node in _read(path).graph.node for name in node.output if name}


def expose(path: Path, names: Sequence[str]) -> Mapping[str, bytes]:
    """The file with these values appended to its outputs."""
    return {".onnx": with_outputs(_read(path), names).SerializeToString(deterministic=True)}


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """A copy with these values appended to the outputs; a runtime infers their types."""
    import onnx

    exposed = onnx.ModelProto()
    exposed.CopyFrom(model)
    present = {output.name for output in exposed.graph.output}
    exposed.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names if name not in present)
    return exposed


def _read(path: Path) -> onnx.ModelProto:
    import onnx
    from google.protobuf.message import DecodeError

    try:
        # A file of edgecvx holds its weights itself; what another one refers to is not followed.
        return onnx.load(path, load_external_data=False)
    except (DecodeError, OSError) as error:
        raise ArtifactError(f"{path.name} cannot be read as ONNX ({' '.join(str(error).split())})") from error
