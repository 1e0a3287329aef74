"""The static files of a site, as whoever writes or serves one gets them."""

from __future__ import annotations

from pathlib import Path

from edgecvx.web.files import SITE, site_files


def test_every_file_is_there_under_its_name_in_a_site_and_in_order() -> None:
    files = site_files()
    assert list(files) == sorted(files)
    assert files["NOTICE.txt"] == (SITE / "NOTICE.txt").read_bytes()


def test_folders_are_part_of_a_name_and_what_tools_left_is_not_shipped(tmp_path: Path) -> None:
    for name in ("b.js", "parts/a.css", ".DS_Store", "parts/.a.css.swp", ".cache/x.js"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(name.encode())
    assert site_files(tmp_path) == {"b.js": b"b.js", "parts/a.css": b"parts/a.css"}
