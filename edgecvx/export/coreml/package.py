"""The folder behind an ``.mlpackage``: which file is the program, and the weight file beside it.

A package is untrusted input: every path, offset and size in it is checked before it is used.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgecvx.errors import ArtifactError

LARGEST_PROGRAM = 256 * 1024 * 1024
"""Bytes. The weights lie beside the program, which stays below a megabyte."""

_BLOB_TYPES: Mapping[int, str] = MappingProxyType(
    {1: "float16", 2: "float32", 3: "uint8", 4: "int8", 6: "int16", 7: "uint16", 14: "int32", 15: "uint32"}
)
"""The weight file's own numbers for types."""
_VERSION = 2
_SENTINEL = 0xDEADBEEF
_FILE_HEADER = struct.Struct("<II56x")
"""Number of blobs, version."""
_BLOB_HEADER = struct.Struct("<IIQQ40x")
"""Sentinel, type, bytes, offset of the data from the file's start. Headers and data start at multiples of 64."""


class PackageFolder:
    """Reads the files of a package, each weight file once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._model = self._inside(path / "Data", self._model_path())
        self._weights: dict[str, bytes] = {}

    def program(self) -> bytes:
        """The serialized model."""
        content = self._read(self._model)
        if len(content) > LARGEST_PROGRAM:
            raise self.damaged(f"a program of {len(content)} bytes is not one edgecvx writes or reads")
        return content

    def weight(self, name: str, offset: int, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        """The constant whose blob header stands at ``offset`` of the file ``name``."""
        content, where = self._weight_file(name), f"the weight at {offset}"
        if offset + _BLOB_HEADER.size > len(content):
            raise self.damaged(f"{where} starts behind the end of {name}")
        sentinel, number, size, start = _BLOB_HEADER.unpack_from(content, offset)
        if sentinel != _SENTINEL:
            raise self.damaged(f"{where} has no blob header; {name} is damaged or of another format")
        if _BLOB_TYPES.get(number) != dtype:
            raise self.damaged(f"{where} is of blob type {number}, the program wants {dtype}")
        count = math.prod(shape)
        if size != count * np.dtype(dtype).itemsize or start + size > len(content):
            raise self.damaged(f"{where} has {size} bytes from {start}, the program wants {dtype} {list(shape)}")
        return np.frombuffer(content, dtype, count, start).reshape(shape)

    def damaged(self, what: str) -> ArtifactError:
        """The error for this package."""
        return ArtifactError(f"{self.path.name}: {what}")

    def _model_path(self) -> PurePosixPath:
        """The model's file below ``Data``, as the manifest names it."""
        try:
            manifest = json.loads(self._read(self.path / "Manifest.json"))
            entry = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]
            return PurePosixPath(str(entry["path"]))
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise self.damaged(f"Manifest.json does not name a model ({error!r})") from error

    def _weight_file(self, name: str) -> bytes:
        if name not in self._weights:
            relative = PurePosixPath(name.removeprefix("@model_path/"))
            content = self._read(self._inside(self._model.parent, relative))
            if len(content) < _FILE_HEADER.size or _FILE_HEADER.unpack_from(content)[1] != _VERSION:
                raise self.damaged(f"{name} is no weight file of version {_VERSION}")
            self._weights[name] = content
        return self._weights[name]

    def _inside(self, folder: Path, relative: PurePosixPath) -> Path:
        """A file of the package; one that lies elsewhere, through ``..`` or a link, is refused."""
        target = folder / relative
        odd = relative.is_absolute() or ".." in relative.parts or "\0" in str(relative)
        if odd or not target.resolve().is_relative_to(self.path.resolve()):
            raise self.damaged(f"names the file {str(relative)!r}, which is not inside the package")
        return target

    def _read(self, file: Path) -> bytes:
        try:
            return file.read_bytes()
        except OSError as error:
            raise self.damaged(f"{file.name} cannot be read: {error.strerror}") from error
