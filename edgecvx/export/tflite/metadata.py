"""TFLite Metadata: what Android Studio, the Task Library and MediaPipe read to feed a file and name its classes.

It is a flatbuffer of its own inside the file (root ``ModelMetadata``, identifier ``M001``) that says how to normalize
the picture, and a zip archive behind the file that holds the labels. The classes of that schema come with none of the
interpreters, so the few tables used here are written by slot number; the schema promises never to renumber them.

It has no word for resizing and cropping: that, and everything else, is in the entry ``edgecvx``.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

from edgecvx.errors import ExportError
from edgecvx.spec import PreprocessSpec, TensorSpec, from_json

METADATA_NAME = "TFLITE_METADATA"
LABELS_NAME = "labels.txt"
IDENTIFIER = b"M001"
PARSER = "1.0.0"
"""The oldest metadata parser that knows every field used here."""

_FEATURE, _IMAGE = 1, 2
"""The members of the union ContentProperties."""
_NORMALIZATION = 1
"""Of the union ProcessUnitOptions."""
_RGB, _AXIS_LABELS = 1, 2
"""ColorSpaceType RGB; AssociatedFileType TENSOR_AXIS_LABELS."""

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time a zip archive can hold: the same labels give the same bytes on any day."""


def labels_of(props: Mapping[str, str]) -> tuple[str, ...]:
    """The class labels in a canonical graph's metadata, if any.

    Raises:
        ExportError: A label has a line break, and would count as two in a file with one label per line.
    """
    labels = tuple(json.loads(props.get("edgecvx.labels", "[]")))
    for number, label in enumerate(labels):
        if not label or "\n" in label or "\r" in label:
            raise ExportError(
                f"label {number} is {label!r}; in a TFLite file every label is one line that is not empty"
            )
    return labels


def describe(props: Mapping[str, str], image: TensorSpec, outputs: Sequence[TensorSpec]) -> bytes | None:
    """The metadata flatbuffer; None where the graph does not say how its pictures are prepared.

    Raises:
        ExportError: A label cannot be written.
    """
    if "edgecvx.preprocess" not in props:
        return None
    import flatbuffers

    spec = from_json(PreprocessSpec, json.loads(props["edgecvx.preprocess"]), where="edgecvx.preprocess")
    tables = _Tables(flatbuffers.Builder(1024))
    labelled = outputs[0].name if labels_of(props) else None
    subgraph = tables.table(
        {
            2: tables.vector([_image(tables, image, spec)]),
            3: tables.vector([_output(tables, output, labelled=output.name == labelled) for output in outputs]),
        }
    )
    fields = {0: props.get("edgecvx.model"), 1: props.get("edgecvx.task"), 5: props.get("edgecvx.license"), 7: PARSER}
    strings = {slot: tables.string(text) for slot, text in fields.items() if text is not None}
    return tables.finish(tables.table(strings | {3: tables.vector([subgraph])}))


def append_labels(content: bytes, labels: Sequence[str]) -> bytes:
    """The file with a zip archive of the labels behind it, where readers of the model do not look."""
    if not labels:
        return content
    entry = zipfile.ZipInfo(LABELS_NAME, date_time=_EPOCH)
    entry.create_system, entry.external_attr = 3, 0o644 << 16  # Unix, whatever system writes it
    file = io.BytesIO(content)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(entry, "".join(f"{label}\n" for label in labels))
    return file.getvalue()


def _image(t: _Tables, image: TensorSpec, spec: PreprocessSpec) -> int:
    """TensorMetadata of the picture; the normalization is of bytes, so mean and std are scaled to 0..255."""
    _, height, width, _ = image.shape
    size = t.table({}, {0: ("Uint32", width), 1: ("Uint32", height)})
    properties = t.table({1: size}, {0: ("Int8", _RGB)})
    fields = {0: t.string(image.name), 3: t.table({1: properties}, {0: ("Uint8", _IMAGE)})}
    if image.dtype == "float32":
        mean, std = (t.vector([255.0 * v for v in values], "Float32") for values in (spec.mean, spec.std))
        unit = t.table({1: t.table({0: mean, 1: std})}, {0: ("Uint8", _NORMALIZATION)})
        fields[4] = t.vector([unit])
    return t.table(fields)


def _output(t: _Tables, output: TensorSpec, *, labelled: bool) -> int:
    """TensorMetadata of an output, with the file that names its classes."""
    fields = {0: t.string(output.name), 3: t.table({1: t.table({})}, {0: ("Uint8", _FEATURE)})}
    if labelled:
        fields[6] = t.vector([t.table({0: t.string(LABELS_NAME)}, {2: ("Int8", _AXIS_LABELS)})])
    return t.table(fields)


class _Tables:
    """Flatbuffer tables by slot number; what a table refers to is written before it."""

    def __init__(self, builder: Any) -> None:
        self._builder = builder

    def table(self, references: Mapping[int, int], scalars: Mapping[int, tuple[str, int]] | None = None) -> int:
        """A table: slot -> something written before, and slot -> (type, number)."""
        scalars = scalars or {}
        self._builder.StartObject(max([*references, *scalars], default=-1) + 1)
        for slot, offset in references.items():
            self._builder.PrependUOffsetTRelativeSlot(slot, offset, 0)
        for slot, (kind, number) in scalars.items():
            getattr(self._builder, f"Prepend{kind}Slot")(slot, number, 0)
        return int(self._builder.EndObject())

    def vector(self, items: Sequence[float], kind: str = "UOffsetTRelative") -> int:
        """Of tables, or of numbers."""
        self._builder.StartVector(4, len(items), 4)
        for item in reversed(items):
            getattr(self._builder, f"Prepend{kind}")(item)
        return int(self._builder.EndVector())

    def string(self, text: str) -> int:
        return int(self._builder.CreateString(text))

    def finish(self, root: int) -> bytes:
        self._builder.Finish(root, file_identifier=IDENTIFIER)
        return bytes(self._builder.Output())
