"""A room that is too large is named; one that is not passes."""

from __future__ import annotations

from pathlib import Path

import pytest
from sizes import MOST_FILES, main, rooms, table, too_large


def package(folder: Path, **files: int) -> Path:
    """A package whose room ``a`` has files of so many lines, beside enough others that no share is large."""
    for i in range(9):
        (folder / "house" / f"other{i}").mkdir(parents=True)
        (folder / "house" / f"other{i}" / "file.py").write_text("def f():\n    pass\n" * 10)
    (folder / "house" / "a").mkdir()
    for name, lines in files.items():
        (folder / "house" / "a" / f"{name}.py").write_text("x = 1\n" * lines)
    return folder / "house"


def test_lines_files_and_functions_are_counted(tmp_path: Path) -> None:
    found = rooms(package(tmp_path, one=3, two=4))
    assert [room.name for room in found] == ["house/a", *(f"house/other{i}" for i in range(9))]
    assert (found[0].files, found[0].functions, found[0].lines) == ((3, 4), (), 7)
    assert found[1].functions == (2,) * 10
    told = table(found)
    assert (
        "house/a                          2       7    3.7%" in told
        and "all                             11     187" in told
    )
    assert "lines per function: median 2, 90th percentile 2" in told


def test_too_many_files_and_too_many_lines_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    house = package(tmp_path, **{f"f{i}": 1 for i in range(MOST_FILES)})
    assert main([str(house), "--check"]) == 0
    (house / "a" / "one_more.py").write_text("x = 1\n" * 100)
    assert main([str(house), "--check"]) == 1
    told = capsys.readouterr().err.splitlines()
    assert len(told) == 2 and "house/a has 16 files" in told[0] and "house/a has 39.0% of all lines" in told[1]
    assert main([str(house)]) == 0


def test_the_house_itself_fits() -> None:
    assert too_large(rooms(Path(__file__).parents[2] / "edgecvx")) == []
