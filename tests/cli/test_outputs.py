"""What cannot be written is refused before anything is measured for it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from edgecvx.cli.outputs import check_outputs
from edgecvx.errors import UsageError


def test_what_can_be_written_passes(tmp_path: Path) -> None:
    check_outputs({"json": Path("-"), "html": None, "markdown": tmp_path / "new" / "folder" / "report.md"})
    (tmp_path / "old.json").write_text("{}")
    check_outputs({"json": tmp_path / "old.json"})
    assert [p.name for p in tmp_path.iterdir()] == ["old.json"]


def test_a_folder_this_user_may_not_write_to_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # The super-user may write everywhere, so permissions alone would not show it.
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != tmp_path)
    with pytest.raises(UsageError, match="is no folder this user may write to"):
        check_outputs({"json": tmp_path / "new" / "v.json"})


def test_one_file_under_two_names_is_one_file(tmp_path: Path) -> None:
    (tmp_path / "link.json").symlink_to(tmp_path / "v.json")
    with pytest.raises(UsageError, match="--json and --html name one file for two reports"):
        check_outputs({"json": tmp_path / "v.json", "html": tmp_path / "link.json"})
