"""Folders as users have them: with rubbish, links and holes in them."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from edgecvx.data.folder import list_pictures, reasons_of
from edgecvx.errors import EdgecvxError


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 3), "teal").save(path, "PNG")
    return path


def test_class_folders_give_the_classes_in_code_point_order(tmp_path: Path) -> None:
    for name in ("zebra/1.png", "Ape/2.png", "ape/10.png", "ape/9.png", "ape/deep/er.png"):
        save(tmp_path / name)
    listing = list_pictures(tmp_path)
    assert [p.name for p in listing.pictures] == [
        "Ape/2.png",
        "ape/10.png",
        "ape/9.png",
        "ape/deep/er.png",
        "zebra/1.png",
    ]
    assert listing.folders == ("Ape", "ape", "zebra")
    assert [p.folder for p in listing.pictures] == ["Ape", "ape", "ape", "ape", "zebra"]
    assert not listing.skipped


def test_pictures_right_under_the_folder_have_no_class(tmp_path: Path) -> None:
    save(tmp_path / "a.png")
    (picture,) = list_pictures(tmp_path).pictures
    assert picture.folder is None and picture.path == tmp_path.resolve() / "a.png"


def test_a_picture_is_one_by_its_content_not_by_its_name(tmp_path: Path) -> None:
    save(tmp_path / "no_suffix")
    (tmp_path / "text.jpg").write_text("not a picture")
    listing = list_pictures(tmp_path)
    assert [p.name for p in listing.pictures] == ["no_suffix"]
    assert [s.name for s in listing.skipped] == ["text.jpg"]


def test_everything_left_out_is_named_and_counted(tmp_path: Path) -> None:
    outside = save(tmp_path / "elsewhere" / "secret.png")
    root = tmp_path / "pictures"
    good = save(root / "cat" / "good.png")
    (root / "cat" / "empty.png").touch()
    (root / "cat" / "notes.txt").write_text("hello")
    (root / "cat" / "list.csv").write_text("a,b")
    (root / ".DS_Store").write_bytes(b"\0")
    (root / "cut.png").write_bytes(good.read_bytes()[:12])
    (root / "out.png").symlink_to(outside)
    (root / "inside.png").symlink_to(good)
    (root / "dangling.png").symlink_to(root / "gone.png")
    (root / "a.png").symlink_to(root / "b.png")
    (root / "b.png").symlink_to(root / "a.png")
    (root / "cat" / "loop").symlink_to(root)
    os.mkfifo(root / "pipe.png")  # opening it would wait for ever

    listing = list_pictures(root)
    assert [p.name for p in listing.pictures] == ["cat/good.png", "inside.png"]
    reasons = {s.name: s.reason for s in listing.skipped}
    assert reasons["cat/empty.png"] == "the file is empty"
    assert reasons["out.png"] == "a link to a file outside the folder"
    assert reasons["cat/loop"] == "a link to a folder"
    assert reasons["pipe.png"] == "not a file"
    assert {reasons[n] for n in ("dangling.png", "a.png", "b.png")} == {"a link that leads nowhere"}
    assert reasons[".DS_Store"] == "hidden"
    assert sum(reasons_of(listing.skipped).values()) == len(listing.skipped) == 11
    assert next(iter(reasons_of(listing.skipped).values())) == 3  # the most frequent first


def test_a_folder_that_may_not_be_read_costs_only_its_own_pictures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(tmp_path / "open" / "a.png")
    save(tmp_path / "shut" / "b.png")
    scandir = os.scandir

    def refuse(path: Path) -> object:  # the super-user may read everything, so permissions alone would not show it
        if Path(path).name == "shut":
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    listing = list_pictures(tmp_path)
    assert [p.name for p in listing.pictures] == ["open/a.png"]
    assert [(s.name, s.reason) for s in listing.skipped] == [("shut", "unreadable folder (Permission denied)")]


def test_a_name_that_is_not_utf8_can_still_be_reported(tmp_path: Path) -> None:
    raw = os.fsencode(tmp_path) + b"/caf\xe9.png"
    Path(os.fsdecode(raw)).write_bytes(save(tmp_path / "a.png").read_bytes())
    assert [p.name.encode() for p in list_pictures(tmp_path).pictures] == [b"a.png", b"caf\\xe9.png"]


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    for wrong in (tmp_path / "nothing", save(tmp_path / "file.png")):
        with pytest.raises(EdgecvxError, match="cannot be listed"):
            list_pictures(wrong)


@pytest.fixture
def nobody() -> Iterator[Path]:
    """A folder, seen with the rights of an ordinary user also where the tests are run by the super-user."""
    with tempfile.TemporaryDirectory() as name:  # tmp_path lies below a folder only its owner may enter
        folder = Path(name)
        folder.chmod(0o755)
        save(folder / "open" / "seen.png")
        save(folder / "open" / "locked.png").chmod(0)
        save(folder / "shut" / "in.png")
        (folder / "shut").chmod(0)
        was = os.geteuid()
        if was == 0:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            os.seteuid(was)
            (folder / "shut").chmod(0o755)


@pytest.mark.skipif(os.name != "posix", reason="permissions are POSIX's")
def test_what_this_user_may_not_read_is_named_and_counted(nobody: Path) -> None:
    listing = list_pictures(nobody)
    assert [p.name for p in listing.pictures] == ["open/seen.png"]
    assert [(s.name, s.reason) for s in listing.skipped] == [
        ("open/locked.png", "cannot be read (Permission denied)"),
        ("shut", "unreadable folder (Permission denied)"),
    ]
