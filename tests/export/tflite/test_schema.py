"""What a TFLite file says about itself, and what damaged files are answered with."""

from __future__ import annotations

import json
import random
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from edgecvx.errors import ArtifactError
from edgecvx.export.tflite.schema import METADATA, load_schema, read_file
from edgecvx.export.tflite.writer import ALIGNMENT, Quantization, Writer, pack


def tiny(**metadata: bytes) -> bytes:
    """``y = x + c + c``."""
    writer = Writer()
    x = writer.tensor("x", (1, 4))
    c = writer.constant("c", np.arange(4, dtype=np.float32))
    again = writer.constant("c again", np.arange(4, dtype=np.float32))
    bits = writer.constant("the same bytes", np.arange(4, dtype=np.float32).view(np.int32))
    half, y = writer.tensor("half", (1, 4)), writer.tensor("y", (1, 4))
    assert c == again != bits
    writer.operator("ADD", [x, c], [half], writer.schema.AddOptionsT())
    writer.operator("ADD", [half, again], [y], writer.schema.AddOptionsT())
    for name, content in metadata.items():
        writer.metadata(name, content)
    return writer.finish({"x": x}, {"y": y}, "for tests")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.tflite"
    file.write_bytes(tiny())
    return file


def test_ops_with_shapes_types_and_bytes(path: Path) -> None:
    first, second = read_file(path).ops
    assert (first.name, first.version) == ("ADD", 1)
    assert [(t.name, t.dtype, t.shape, t.bytes) for t in first.inputs] == [
        ("x", "float32", (1, 4), 0),
        ("c", "float32", (4,), 16),
    ]
    assert second.inputs[1] == first.inputs[1]
    assert [t.name for t in read_file(path).outputs] == ["y"]


def test_equal_constants_are_stored_once_and_aligned(path: Path) -> None:
    """Kernels load whole vectors from the mapped file; one buffer also serves two tensors of different type."""
    content = path.read_bytes()
    stored = np.arange(4, dtype=np.float32).tobytes()
    assert content.count(stored) == 1
    assert content.index(stored) % ALIGNMENT == 0


def test_packing_again_keeps_the_bytes(path: Path) -> None:
    """A file can be read as tables, changed and packed; alignment included."""
    model = load_schema().ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    assert pack(model) == path.read_bytes()


def test_quantization_is_written_per_tensor_and_per_channel(tmp_path: Path) -> None:
    writer = Writer()
    x = writer.tensor("x", (1, 2), "int8", quantization=Quantization(scales=(0.5,), zero_point=-3))
    rows = Quantization(scales=(0.25, 2.0), axis=0)
    w = writer.constant("w", np.eye(2, dtype=np.int8), quantization=rows)
    model = load_schema().ModelT.InitFromPackedBuf(writer.finish({"x": x}, {"w": w}, ""), 0)
    activation, weight = (tensor.quantization for tensor in model.subgraphs[0].tensors)
    assert (activation.scale.tolist(), activation.zeroPoint.tolist()) == ([0.5], [-3])
    assert (weight.scale.tolist(), weight.quantizedDimension) == ([0.25, 2.0], 0)


def test_metadata_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "m.tflite"
    path.write_bytes(tiny(**{METADATA: b'{"edgecvx.model": "femto"}'}))
    assert json.loads(read_file(path).metadata[METADATA]) == {"edgecvx.model": "femto"}
    path.write_bytes(tiny())
    assert METADATA not in read_file(path).metadata


def test_files_that_are_no_tflite(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"cannot be read \(No such file"):
        read_file(tmp_path / "missing.tflite")
    for content in (b"", b"TFL3", b"\x08\0\0\0ONNXwhatever"):
        (tmp_path / "x.tflite").write_bytes(content)
        with pytest.raises(ArtifactError, match="not a TFLite file"):
            read_file(tmp_path / "x.tflite")


def test_a_damaged_file_raises_and_nothing_else(path: Path) -> None:
    """Truncations and three hundred seeded edits: read, or refused in one sentence."""
    content, draw, refused = path.read_bytes(), random.Random(0), 0
    edits = [content[:end] for end in range(8, len(content), 16)]
    for _ in range(300):
        at = draw.randrange(8, len(content) - 4)
        word = draw.choice([b"\xff\xff\xff\xff", b"\xff\xff\xff\x7f", b"\0\0\0\x80", draw.randbytes(4)])
        edits.append(content[:at] + word + content[at + 4 :])
    for edited in edits:
        path.write_bytes(edited)
        try:
            read_file(path)
        except ArtifactError as error:
            refused += 1
            assert "\n" not in str(error)
    assert refused > len(edits) // 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        ("tensor", "tensor 99 of"),
        ("buffer", "buffer 99 of"),
        ("operator", "operator 99 of"),
        ("size", r"has 16 bytes"),
        ("graphs", "0 graphs"),
    ],
)
def test_references_to_nothing_are_named(damage: str, message: str, path: Path) -> None:
    """What native code would follow blindly."""
    model = load_schema().ModelT.InitFromPackedBuf(bytearray(path.read_bytes()), 0)
    graph = model.subgraphs[0]
    if damage == "tensor":
        graph.operators[0].inputs[0] = 99
    elif damage == "buffer":
        graph.tensors[0].buffer = 99
    elif damage == "operator":
        graph.operators[0].opcodeIndex = 99
    elif damage == "size":
        graph.tensors[1].shape[0] = 1000
    else:
        model.subgraphs = []
    path.write_bytes(pack(model))
    with pytest.raises(ArtifactError, match=message):
        read_file(path)
