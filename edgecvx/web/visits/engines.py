"""The engine as a browser loads it: beside a file that was exported for browsers, or built here for another."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from pathlib import Path

from edgecvx.errors import RuntimeUnavailableError
from edgecvx.native.build import build
from edgecvx.native.platforms import get_platform

RUNTIME = "native"
"""The one runtime whose files a browser opens."""
ONLY = "a browser runs files of the native engine alone (.ecvx): export it with --target web"
SUFFIX = ".ecvx"
ONE_THREAD, MORE_THREADS = ("wasm32-relaxed", "wasm32"), ("wasm32-relaxed-threads", "wasm32-threads")
"""The platforms, best first; the last is what every browser runs."""
PLATFORMS = (*ONE_THREAD, *MORE_THREADS)


def engine_name(path: str, platform: str) -> str:
    """What the engine of a file is called."""
    return f"{path.removesuffix(SUFFIX)}.{platform}.wasm"


def engines(path: str, threads: int | None, beside: Callable[[str], Path | bytes | None]) -> Mapping[str, Path | bytes]:
    """The engines for an artifact, best first: those that lie beside it, or of an artifact for no browser all.

    Args:
        path: The artifact.
        threads: How many it is to run with.
        beside: What lies there by a name.

    Raises:
        RuntimeUnavailableError: None does, and none can be built here.
    """
    platforms = MORE_THREADS if (threads or 1) > 1 else ONE_THREAD
    found = {platform: beside(engine_name(path, platform)) for platform in platforms}
    if found[platforms[-1]] is None:
        return {platform: built(platform) for platform in platforms}
    return {platform: content for platform, content in found.items() if content is not None}


def engine_of(path: Path, threads: int | None, *, relaxed: bool) -> tuple[str, bytes]:
    """The platform and the engine that a browser takes for an artifact.

    Args:
        path: The artifact.
        threads: How many it is to run with.
        relaxed: Whether the browser has relaxed SIMD.

    Raises:
        RuntimeUnavailableError: None lies beside it, and none can be built here.
    """

    def beside(name: str) -> bytes | None:
        lying = path.with_name(name)
        return lying.read_bytes() if lying.is_file() else None

    found = engines(path.name, threads, beside)
    platform = tuple(found)[0 if relaxed else -1]
    content = found[platform]
    return platform, content if isinstance(content, bytes) else content.read_bytes()


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
