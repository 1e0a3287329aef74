"""What a device is asked to measure: the order its runner reads, the files beside it, and the runner itself."""

from __future__ import annotations

import dataclasses
import io
import json
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import edgecvx
from edgecvx import board
from edgecvx.errors import UsageError

ORDER_FILE = "order.json"
RUNNER_FILE = "edgecvx-runner.pyz"
_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest a zip file knows: what is packed today and what is packed tomorrow are the same bytes."""
WAIT_MINUTES = 30.0
"""Where nothing is said."""
_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """An order, and where the files it names come from.

    A device puts every file where its key says, relative to a folder of the device's own, and the order beside them as
    ``ORDER_FILE``. The keys are made up here and safe in any shell; what the user calls a file never leaves the host.
    """

    order: Mapping[str, Any]
    files: Mapping[str, Path | bytes]
    wait_seconds: float = WAIT_MINUTES * 60
    """How long to wait for whoever else measures on the device."""

    def __post_init__(self) -> None:
        for name in self.files:
            parts = name.split("/")
            if not all(_SAFE.fullmatch(part) for part in parts) or PurePosixPath(name).parts != tuple(parts):
                raise UsageError(f"{name!r} is no name for a file on a device")

    @property
    def order_bytes(self) -> bytes:
        """The content of ``ORDER_FILE``."""
        return (json.dumps(self.order, indent=1, allow_nan=False) + "\n").encode()

    def with_order(self, **changes: Any) -> Job:
        """The same files under an order with some keys changed: ``job.with_order(remove=True)``."""
        return dataclasses.replace(self, order={**self.order, **changes})


def place(content: Path | bytes, path: Path) -> None:
    """Puts a job's file where a device, or the program that copies to one, finds it.

    The user's own files are linked, not copied.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
        return
    try:
        path.symlink_to(content.resolve())
    except OSError:  # Windows, without the right to make links
        shutil.copyfile(content, path)


def runner_bytes() -> bytes:
    """The runner as one file, ``edgecvx-runner.pyz``, for a device's Python: ``edgecvx.board`` and the version."""
    folder = Path(board.__file__).parent
    sources = sorted(folder.rglob("*.py"))
    files = {f"edgecvx/board/{path.relative_to(folder).as_posix()}": path.read_bytes() for path in sources}
    files["edgecvx/__init__.py"] = f'__version__ = "{edgecvx.__version__}"\n'.encode()
    files["__main__.py"] = files["edgecvx/board/runner/__main__.py"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in sorted(files.items()):
            # Stored, not deflated: what another zlib makes of it would be other bytes.
            archive.writestr(zipfile.ZipInfo(name, _FIRST_DAY), content)
    return packed.getvalue()
