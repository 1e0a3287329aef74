"""The file that is copied to devices."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from pathlib import Path

import edgecvx
from edgecvx.latency.devices.job import RUNNER_FILE, runner_bytes


def test_the_same_bytes_every_day() -> None:
    assert runner_bytes() == runner_bytes()
    with zipfile.ZipFile(io.BytesIO(runner_bytes())) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}
        assert archive.namelist() == sorted(archive.namelist())


def test_it_holds_its_own_folder_and_nothing_of_the_package() -> None:
    with zipfile.ZipFile(io.BytesIO(runner_bytes())) as archive:
        names = archive.namelist()
        assert archive.read("edgecvx/__init__.py").decode() == f'__version__ = "{edgecvx.__version__}"\n'
    others = [name for name in names if not name.startswith("edgecvx/board/")]
    assert others == ["__main__.py", "edgecvx/__init__.py"]


def test_it_starts_without_the_package(tmp_path: Path) -> None:
    """Isolated from everything but the standard library."""
    path = tmp_path / RUNNER_FILE
    path.write_bytes(runner_bytes())
    done = subprocess.run([sys.executable, "-I", "-S", str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: measure ORDER.json")
