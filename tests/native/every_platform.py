"""Every platform's library: the same bytes wherever it is built, no system newer than said, the interface and no more.

``make test-native`` runs it. It is no part of ``make test``, because the C library of Windows takes a minute or three.
"""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from edgecvx.native.build import WARNINGS, build
from edgecvx.native.platforms import PLATFORMS, Platform

LIBRARIES = [platform for platform in PLATFORMS.values() if platform.kind == "library"]
GLIBC = [PLATFORMS[name] for name in ("x86_64-linux", "aarch64-linux")]
MUSL = [PLATFORMS[name] for name in ("x86_64-linux-musl", "aarch64-linux-musl")]
MAGIC = {".so": b"\x7fELF", ".dylib": b"\xcf\xfa\xed\xfe", ".dll": b"MZ", ".wasm": b"\0asm"}
pytestmark = pytest.mark.usefixtures("own_cache")


def name(platform: Platform) -> str:
    return platform.name


@pytest.fixture(autouse=True)
def zig() -> None:
    pytest.importorskip("ziglang")


def newest(library: bytes) -> tuple[int, ...]:
    """The newest glibc whose symbols a library needs; nothing where it needs none."""
    versions = [tuple(map(int, version.split(b"."))) for version in re.findall(rb"GLIBC_([\d.]+)\0", library)]
    return max(versions, default=())


@pytest.mark.parametrize("platform", LIBRARIES, ids=name)
def test_it_is_the_same_bytes_in_another_folder_and_shows_its_interface(
    engine: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, platform: Platform
) -> None:
    first = build(platform, folder=engine, options=WARNINGS)
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setenv("EDGECVX_CACHE", str(tmp_path / "another cache"))
    assert build(platform, folder=engine, options=WARNINGS) == first
    assert first.startswith(MAGIC[platform.endings[0]])
    assert b"ecvx_answer" in first and b"squares_d" not in first
    assert str(tmp_path).encode() not in first and b".pdb" not in first


@pytest.mark.parametrize("platform", GLIBC, ids=name)
def test_it_runs_with_glibc_2_17(engine: Path, platform: Platform) -> None:
    library = build(platform, folder=engine)
    assert (2, 2, 5) <= newest(library) <= (2, 17)
    assert b"libm.so.6" in library and b"libgcc_s" not in library


def test_one_for_a_newer_glibc_is_noticed(engine: Path) -> None:
    """``pow`` of glibc 2.29 no longer sets errno by the rules of System V."""
    newer = dataclasses.replace(GLIBC[0], target="x86_64-linux-gnu.2.38")
    assert newest(build(newer, folder=engine)) > (2, 17)


@pytest.mark.parametrize("platform", MUSL, ids=name)
def test_one_for_musl_loads_no_glibc(engine: Path, platform: Platform) -> None:
    library = build(platform, folder=engine)
    assert newest(library) == () and b".so.6" not in library and b"libc.so\0" in library
