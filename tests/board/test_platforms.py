"""What a board calls its platform is what the compiler's side calls it, and so are the files."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.board.platforms import LIBRARIES, library_beside, machine, name_of
from edgecvx.native.platforms import PLATFORMS


def test_the_libraries_a_board_loads_are_those_that_are_built() -> None:
    """A board has no list of compilers, and the list of platforms no use for what Python cannot load."""
    built = {name: platform.endings for name, platform in PLATFORMS.items() if platform.kind == "library"}
    loaded = {name: endings for name, endings in built.items() if not name.startswith("wasm32")}
    assert {name: (ending,) for name, ending in LIBRARIES.items()} == loaded


@pytest.mark.parametrize("platform", LIBRARIES)
def test_a_library_lies_where_the_artifact_brings_it(platform: str) -> None:
    (suffix,) = PLATFORMS[platform].suffixes
    model = Path("folder") / "convnextv2_femto.demo-224-int8.ecvx"
    assert library_beside(model, platform) == Path("folder") / f"convnextv2_femto.demo-224-int8{suffix}"


def test_a_machine_without_a_library_has_no_name() -> None:
    assert name_of(*machine()) in LIBRARIES
    assert name_of("linux", "aarch64", 64, False) == "aarch64-linux"
    assert name_of("linux", "aarch64", 32, False) is None  # a system of 32 bits on a kernel of 64
    assert name_of("linux", "riscv64", 64, False) is None
    assert name_of("win32", "ARM64", 64, False) is None
