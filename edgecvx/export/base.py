"""What a lowering gives back: the bytes of each file, and what they are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from edgecvx.errors import ExportError
from edgecvx.spec import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """One artifact, still in memory.

    A key of ``files`` is what follows the artifact's stem: ``.tflite``, or ``.xml`` and ``.bin``, or the files of an
    ``.mlpackage`` folder (``.mlpackage/Manifest.json``). The first key names the file a runtime opens.
    """

    files: Mapping[str, bytes]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    passes: tuple[str, ...] = ()
    """What the lowering applied, for the manifest."""
    kept_float: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))
    """Op -> why it stays in a higher precision than asked for."""

    def __post_init__(self) -> None:
        for suffix, content in self.files.items():
            if not suffix.startswith(".") or ".." in suffix or not content:
                raise ExportError(f"a lowering produced an unusable file {suffix!r} of {len(content)} bytes")
        if not self.files or len(self.inputs) != 1 or not self.outputs:
            raise ExportError("a lowering needs a file, one input and an output")
