"""A file of the native engine before native code sees it: read whole, and with a library that runs here.

An artifact that was exported for other machines brings no library for this one. Where zig is installed it is built from
the same sources, so that such a file can be proved and validated where it was written.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecvx.board.engines.native import this_platform
from edgecvx.board.platforms import library_beside
from edgecvx.errors import ArtifactError, RuntimeFailedError, RuntimeUnavailableError
from edgecvx.export.native.parser import read
from edgecvx.native.build import build
from edgecvx.native.platforms import get_platform
from edgecvx.runtimes.files import existing


def with_library(loaded: Any, path: Path, options: Mapping[str, str]) -> Path:
    """Reads the whole file, and tells the engine of another library where none lies beside it."""
    existing(loaded, path, options)
    try:
        read(path)
    except ArtifactError as error:
        raise RuntimeFailedError(str(error)) from error
    library = library_beside(path, this_platform())
    if library.is_symlink():
        raise RuntimeFailedError(f"{library.name} is a link: copy the file itself beside {path.name}")
    loaded.library = library if library.exists() else _built(path)
    return path


def _built(path: Path) -> Path:
    """A library for this machine in a folder of its own, that goes with the process."""
    platform = get_platform(this_platform())
    try:
        content = build(platform)
    except RuntimeUnavailableError as error:
        raise RuntimeUnavailableError(
            f"{path.name} has no library for this machine beside it, and none can be built here: export it with "
            f"--platform {platform.name}, or pip install 'edgecvx[native]'"
        ) from error
    folder = Path(tempfile.mkdtemp(prefix="edgecvx-library-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    library = folder / f"engine{platform.endings[0]}"
    library.write_bytes(content)
    library.chmod(0o644)  # whatever the umask: what others may write is not loaded
    return library
