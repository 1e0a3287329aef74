"""What keeps a site on a phone: its service worker, told which files there are, each with its hash.

A browser asks for the worker anew with each visit and compares it byte by byte: as every file's hash is in it, it
differs whenever any file does, and a browser that has it takes only the files it was written with.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

from edgecvx.errors import ExportError

WORKER = "sw.js"
EMPTY = b'{ version: "", files: {} }'
"""What stands in the static file: without files it keeps nothing."""


def with_files(worker: bytes, hashes: Mapping[str, str]) -> bytes:
    """The service worker of one site.

    Args:
        worker: The static file.
        hashes: Name of every other file of the site -> SHA-256, in hexadecimal digits.

    Raises:
        ExportError: The static file has no place for them.
    """
    if worker.count(EMPTY) != 1:
        raise ExportError(f"{WORKER} has no place for the names of a site's files: install edgecvx again")
    files = dict(sorted(hashes.items()))
    version = hashlib.sha256(json.dumps(files).encode()).hexdigest()[:16]
    return worker.replace(EMPTY, json.dumps({"version": version, "files": files}, indent=2).encode())
