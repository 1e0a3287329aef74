"""TFLite Metadata: what Android's tools and MediaPipe read from our files."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

import flatbuffers
from flatbuffers import number_types as kinds
from support import network

from edgecvx.errors import ExportError
from edgecvx.export.tflite.lower import TFLiteOptions, lower
from edgecvx.export.tflite.metadata import append_labels, describe, labels_of
from edgecvx.export.tflite.schema import load_schema
from edgecvx.graph.canonical import build_canonical
from edgecvx.graph.fold import fold, fold_uint8_input
from edgecvx.spec import InputKind, PreprocessSpec, TensorSpec, to_json

LABELS = ("tench, Tinca tinca", "Möwe", "猫")
PREPROCESS = PreprocessSpec(size=32)
PROPS = {
    "edgecvx.model": "small.demo",
    "edgecvx.task": "classify",
    "edgecvx.license": "apache-2.0",
    "edgecvx.preprocess": json.dumps(to_json(PREPROCESS)),
    "edgecvx.labels": json.dumps(LABELS),
}
IMAGE = TensorSpec(name="image", shape=(1, 32, 48, 3), dtype="float32", layout="NHWC")
LOGITS = TensorSpec(name="logits", shape=(1, 3), dtype="float32", layout="NC")


class Reader:
    """A flatbuffer table by slot number, as the published schema numbers them."""

    def __init__(self, content: bytes, at: int) -> None:
        self.table = flatbuffers.table.Table(content, at)

    @classmethod
    def root(cls, content: bytes) -> Reader:
        assert flatbuffers.util.BufferHasIdentifier(content, 0, b"M001")
        return cls(content, int(np.frombuffer(content, np.uint32, 1)[0]))

    def at(self, slot: int) -> int:
        offset = int(self.table.Offset(4 + 2 * slot))
        assert offset, f"slot {slot} is not set"
        return offset

    def text(self, slot: int) -> str:
        return str(self.table.String(self.table.Pos + self.at(slot)).decode())

    def number(self, slot: int, kind: Any) -> int:
        return int(self.table.Get(kind, self.table.Pos + self.at(slot)))

    def child(self, slot: int) -> Reader:
        return Reader(self.table.Bytes, self.table.Indirect(self.table.Pos + self.at(slot)))

    def children(self, slot: int) -> list[Reader]:
        start = self.table.Vector(self.at(slot))
        count = self.table.VectorLen(self.at(slot))
        return [Reader(self.table.Bytes, self.table.Indirect(start + 4 * i)) for i in range(count)]

    def floats(self, slot: int) -> list[float]:
        values = self.table.GetVectorAsNumpy(kinds.Float32Flags, self.at(slot))
        return [round(float(v), 4) for v in values]


def metadata(image: TensorSpec = IMAGE) -> Reader:
    content = describe(PROPS, image, [LOGITS])
    assert content is not None
    return Reader.root(content)


def test_the_model_is_named_with_its_licence() -> None:
    root = metadata()
    assert [root.text(slot) for slot in (0, 1, 5, 7)] == ["small.demo", "classify", "apache-2.0", "1.0.0"]


def test_the_picture_is_rgb_and_normalized_from_bytes() -> None:
    """A reader computes (byte - mean) / std, so both are 255 times those of pictures in 0..1."""
    (image,) = metadata().children(3)[0].children(2)
    assert image.text(0) == "image"
    properties = image.child(3)
    assert properties.number(0, kinds.Uint8Flags) == 2  # ImageProperties
    assert properties.child(1).number(0, kinds.Int8Flags) == 1  # RGB
    size = properties.child(1).child(1)
    assert (size.number(0, kinds.Uint32Flags), size.number(1, kinds.Uint32Flags)) == (48, 32)
    (unit,) = image.children(4)
    assert unit.number(0, kinds.Uint8Flags) == 1  # NormalizationOptions
    assert unit.child(1).floats(0) == [123.675, 116.28, 103.53]
    assert unit.child(1).floats(1) == [58.395, 57.12, 57.375]


def test_a_picture_of_bytes_is_not_normalized() -> None:
    image = TensorSpec(name="image", shape=(1, 32, 32, 3), dtype="uint8", layout="NHWC")
    (described,) = metadata(image).children(3)[0].children(2)
    assert described.table.Offset(4 + 2 * 4) == 0


def test_the_first_output_names_its_classes() -> None:
    tap = TensorSpec(name="stem.0", shape=(1, 8, 8, 4), dtype="float32", layout="NHWC")
    content = describe(PROPS, IMAGE, [LOGITS, tap])
    assert content is not None
    logits, other = Reader.root(content).children(3)[0].children(3)
    (labels,) = logits.children(6)
    assert (labels.text(0), labels.number(2, kinds.Int8Flags)) == ("labels.txt", 2)  # TENSOR_AXIS_LABELS
    assert (logits.text(0), other.text(0)) == ("logits", "stem.0")
    assert other.table.Offset(4 + 2 * 6) == 0


def test_labels_are_a_zip_behind_the_model() -> None:
    content = append_labels(b"model", LABELS)
    assert content.startswith(b"model")
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.read("labels.txt").decode().splitlines() == list(LABELS)
    assert append_labels(b"model", LABELS) == content  # also tomorrow: the archive holds no time
    assert append_labels(b"model", ()) == b"model"


@pytest.mark.parametrize("label", ["two\nlines", "", "one\r"])
def test_a_label_that_is_not_one_line_is_refused(label: str) -> None:
    """It would shift every class after it."""
    with pytest.raises(ExportError, match="label 1 is"):
        labels_of({"edgecvx.labels": json.dumps(["cat", label])})


def test_nothing_is_claimed_about_pictures_when_nothing_is_known() -> None:
    assert describe({"edgecvx.model": "small"}, IMAGE, [LOGITS]) is None


@pytest.mark.parametrize("kind", list(InputKind))
def test_an_exported_file_carries_both(kind: InputKind) -> None:
    module = network(3)
    if kind is InputKind.UINT8:
        module = fold_uint8_input(module, PREPROCESS)
    graph = build_canonical(fold(module).module, image_size=32, input_kind=kind, metadata=PROPS)
    content = lower(graph, TFLiteOptions()).files[".tflite"]
    model = load_schema().ModelT.InitFromPackedBuf(content, 0)
    entries = {entry.name.decode(): model.buffers[entry.buffer].data.tobytes() for entry in model.metadata}
    assert Reader.root(entries["TFLITE_METADATA"]).text(0) == "small.demo"
    assert json.loads(entries["edgecvx"]) == PROPS
    assert zipfile.ZipFile(io.BytesIO(content)).namelist() == ["labels.txt"]
