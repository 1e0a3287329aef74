"""The table of formats: each is a folder here, whose ``format.py`` holds its record.

In a folder the same file does the same job: ``lower.py`` writes, ``reader.py`` says what is in a file without running
it, ``expose.py`` makes a debug build of a file that exists already. What is examined must be the artifact's own
constants, not those of a fresh export: so the file itself is taken and its list of outputs made longer, nothing else. A
runtime fuses less where an inner tensor is asked for, so the last digits of a debug build may differ.
"""

from __future__ import annotations

from edgecvx.errors import one_of
from edgecvx.export.base import Format, load_attribute

FORMATS = ("onnx", "openvino", "tflite", "coreml", "tensorrt", "native", "web")
"""In the order they are shown."""


def get_format(name: str) -> Format:
    """The record of a format.

    Raises:
        UsageError: There is none of this name; the message names the nearest.
    """
    if name not in FORMATS:
        raise one_of("format", name, FORMATS)
    found: Format = load_attribute(f"edgecvx.export.{name}.format:FORMAT")
    return found
