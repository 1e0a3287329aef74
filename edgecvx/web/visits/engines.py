"""The engine as a browser loads it: beside a file that was exported for browsers, or built here for another."""

from __future__ import annotations

import functools
from pathlib import Path

from edgecvx.errors import RuntimeUnavailableError
from edgecvx.native.build import build
from edgecvx.native.platforms import get_platform

RUNTIME = "native"
"""The one runtime whose files a browser opens."""
ONLY = "a browser runs files of the native engine alone (.ecvx): export it with --target web"
SUFFIX = ".ecvx"
ONE_THREAD, MORE_THREADS = "wasm32", "wasm32-threads"
"""The platforms."""


def engine_name(path: str, platform: str) -> str:
    """What the engine of a file is called."""
    return f"{path.removesuffix(SUFFIX)}.{platform}.wasm"


def engine_of(path: Path, platform: str) -> bytes:
    """The engine for an artifact.

    Raises:
        RuntimeUnavailableError: None lies beside it, and none can be built here.
    """
    beside = path.with_name(engine_name(path.name, platform))
    return beside.read_bytes() if beside.is_file() else built(platform)


@functools.cache
def built(platform: str) -> bytes:
    """The engine for a file that brings none.

    Raises:
        RuntimeUnavailableError: It cannot be built here.
    """
    try:
        return build(get_platform(platform))
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(
            "it has no engine for browsers beside it, and none can be built here: export it with --target web, or "
            "pip install 'edgecvx[native]'"
        ) from error
