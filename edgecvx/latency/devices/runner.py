"""The runner as one file, to be copied to a device and started there with its Python."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import edgecvx
from edgecvx import board

_FIRST_DAY = (1980, 1, 1, 0, 0, 0)
"""The earliest a zip file knows: what is packed today and what is packed tomorrow are the same bytes."""


def runner_bytes() -> bytes:
    """``edgecvx-runner.pyz``: ``edgecvx.board`` and a package around it that holds the version and nothing else."""
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
