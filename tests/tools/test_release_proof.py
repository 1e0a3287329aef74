"""A release holds what is tracked of its package, and nothing else."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
from release_proof import WHEEL, amiss, build, names_in

pytest.importorskip("setuptools", minversion="77")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (built,) = build("edgecvx", tmp_path_factory.mktemp("release"), WHEEL)
    return built


def test_the_wheel_holds_the_package_and_nothing_else(wheel: Path) -> None:
    assert amiss(wheel, "edgecvx") == []


def test_a_boards_install_gets_no_weights(wheel: Path) -> None:
    assert not [name for name in names_in(wheel) if name.endswith(".safetensors")]
    assert wheel.stat().st_size < 2e6


def test_a_wheel_brings_what_no_import_would_miss(wheel: Path) -> None:
    """The engine's sources, the site, the schemas, that it is typed, and its licence."""
    names = names_in(wheel)
    for needed in ("edgecvx/py.typed", "edgecvx/native/engine/run.c", "edgecvx/web/site/index.html"):
        assert needed in names
    assert "edgecvx/assets/benchmark.schema.json" in names
    assert any(name.endswith("dist-info/licenses/NOTICE") for name in names)


def test_a_wheel_that_lacks_a_file_or_has_one_too_many_is_noticed(wheel: Path, tmp_path: Path) -> None:
    broken = tmp_path / wheel.name
    with zipfile.ZipFile(wheel) as whole, zipfile.ZipFile(broken, "w") as part:
        for name in whole.namelist():
            if name != "edgecvx/py.typed":
                part.writestr(name, whole.read(name))
        part.writestr("edgecvx/notes.txt", "")
        part.writestr("tests/test_spec.py", "")
    assert amiss(broken, "edgecvx") == [
        f"{broken.name} lacks edgecvx/py.typed",
        f"{broken.name} holds edgecvx/notes.txt",
        f"{broken.name} holds tests/test_spec.py",
    ]
