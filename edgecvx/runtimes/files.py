"""What is looked at in Python before native code opens a file.

TFLite's interpreter maps the file and follows its offsets without checking them, so a damaged file can crash the
process. It is therefore read first (``edgecvx.export.tflite.schema``), which finds every broken offset, index and
length; what native code does with a file that is consistent and still wrong is for a process of its own to survive.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgecvx.errors import ArtifactError, RuntimeFailedError, RuntimeUnavailableError
from edgecvx.export.tflite.schema import read_bytes, read_file


def existing(loaded: Any, path: Path, options: Mapping[str, str]) -> Path:
    """The file, which is there."""
    if not path.is_file():
        raise RuntimeFailedError(f"there is no file {path.name}")
    return path


def check_ir(loaded: Any, path: Path, options: Mapping[str, str]) -> Path:
    """Looks before OpenVINO does, which would try every format it knows on the file, and say so at length."""
    existing(loaded, path, options)
    with path.open("rb") as file:
        if b"<net" not in file.read(4096):
            raise RuntimeFailedError(f"{path.name} is not an OpenVINO IR: there is no <net> in it")
    if not path.with_suffix(".bin").is_file():
        raise RuntimeFailedError(f"{path.name} needs {path.with_suffix('.bin').name} beside it, with its weights")
    return path


def check_tflite(loaded: Any, path: Path, options: Mapping[str, str]) -> Path:
    """Reads the whole file; with no schema here, at least its first bytes."""
    try:
        try:
            read_file(path)
        except RuntimeUnavailableError:
            read_bytes(path)
    except ArtifactError as error:
        raise RuntimeFailedError(str(error)) from error
    return path


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Hides what opening prints: the XNNPACK delegate's banner on descriptor 2, TensorFlow's note on its future."""
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as sink, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(sink.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
