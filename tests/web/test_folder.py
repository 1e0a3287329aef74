"""A folder of artifacts made a site: what is written, what adds up, what is replaced, and what is left alone."""

from __future__ import annotations

import json
import posixpath
import re
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from native_artifacts import exported_again
from sites import copy_of

from edgecvx.data.probe import probe_pictures
from edgecvx.errors import UsageError
from edgecvx.files import file_sha256
from edgecvx.runtimes.proof import limit_of, remedy
from edgecvx.web import folder as sites
from edgecvx.web.comments import without_comments
from edgecvx.web.files import site_files
from edgecvx.web.folder import MARK, check, complete, compressed
from edgecvx.web.models import models_in

if TYPE_CHECKING:
    from small_classifier import Exported

pytestmark = pytest.mark.usefixtures("native_library")
VISIT_AT_MOST, FILES_AT_MOST = 80_000, 62_000
"""Bytes where a server compresses: of what a visit loads, page and engine, and of every static file."""
LATER = {"page.js", "sw.js", "worker.js", "thread.js"}
"""What a visit loads too, named elsewhere than in an import."""


def models(folder: Path) -> list[dict[str, Any]]:
    """What ``models.json`` says."""
    found: list[dict[str, Any]] = json.loads((folder / "models.json").read_bytes())["models"]
    return found


@pytest.fixture
def mine(site: Exported, tmp_path: Path) -> Path:
    """A site to do something to."""
    return copy_of(site.path.parent, tmp_path / "mine")


def renamed(folder: Path, stem: str, name: str) -> None:
    """A second model of a site: the first under another name, as an export writes it."""
    for path in sorted(folder.glob(f"{stem}.*")):
        text = path.read_bytes()
        content = text.replace(stem.encode(), name.encode()) if path.name.endswith(".edgecvx.json") else text
        (folder / path.name.replace(stem, name)).write_bytes(content)


def test_every_static_file_is_in_a_site_as_it_ships(site: Exported) -> None:
    """Without its comments; and the service worker knows the site's files by their hashes."""
    for name, content in site_files().items():
        assert name == "sw.js" or (site.path.parent / name).read_bytes() == without_comments(name, content), name


def test_the_list_says_of_a_model_what_a_page_needs_to_open_and_to_prove_it(site: Exported) -> None:
    folder, manifest = site.path.parent, site.manifest
    (model,) = models(folder)
    named = [model[key] for key in ("file", "manifest", "wasm", "wasm_threads", "probes") if model[key]]
    assert model["sha256"] == {name: file_sha256(folder / name) for name in named}
    assert (model["name"], model["file"]) == (site.path.stem, site.path.name)
    assert model["bytes"] == site.path.stat().st_size
    assert model["limit"] == limit_of(manifest, "native", {})
    assert model["remedy"] == remedy(manifest)


def test_the_probe_pictures_lie_there_as_bytes(site: Exported) -> None:
    size = site.manifest.model.preprocess.size
    content = np.frombuffer((site.path.parent / f"probes-{size}.bin").read_bytes(), np.uint8)
    assert np.array_equal(content.reshape(-1, size, size, 3), probe_pictures(size))


def test_exports_into_one_folder_add_up_in_order_of_name(mine: Path) -> None:
    (first,) = models(mine)
    renamed(mine, first["name"], "a second one")
    complete(mine)
    assert [model["name"] for model in models(mine)] == ["a second one", first["name"]]


def test_a_model_that_is_no_longer_what_was_proved_is_left_out_and_that_is_said(mine: Path) -> None:
    (first,) = models(mine)
    renamed(mine, first["name"], "other")
    with (mine / first["wasm"]).open("ab") as engine:
        engine.write(b"\0")
    told = complete(mine)
    assert [model["name"] for model in models(mine)] == ["other"]
    assert told[1].startswith(f"{first['file']} is not in the site's list of models: {first['wasm']} has ")


def test_a_file_of_an_earlier_page_is_replaced(mine: Path) -> None:
    (mine / "NOTICE.txt").write_text("of an earlier edgecvx")
    (mine / "index.html").write_bytes(b"<!doctype html>" + MARK + b"<p>earlier")
    check(mine)
    complete(mine)
    files = site_files()
    assert all((mine / name).read_bytes() == files[name] for name in ("NOTICE.txt", "index.html"))


def test_a_native_export_into_a_site_keeps_the_list_true(native_classifier: Exported, mine: Path) -> None:
    """Its artifact replaces one of the same name, which then brings nothing for browsers any more."""
    assert len(models(mine)) == 1
    exported_again(native_classifier, mine, target="native")
    assert models(mine) == []


def test_a_native_export_elsewhere_makes_no_site(native_classifier: Exported) -> None:
    assert not (native_classifier.path.parent / "models.json").exists()


@pytest.mark.parametrize("name", ["index.html", "sw.js", "models.json"])
def test_what_somebody_wrote_is_not_replaced(tmp_path: Path, name: str) -> None:
    check(tmp_path)
    (tmp_path / name).write_text("mine")
    with pytest.raises(UsageError, match=f"{name} is not edgecvx's, and a site would replace it: export into a folder"):
        check(tmp_path)


def test_two_exports_at_once_leave_both_models_in_the_list(mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that looked first writes first: nobody's list is written over by one that was made before it."""
    (first,) = models(mine)
    looked, real = threading.Event(), models_in

    def slow(folder: Path) -> Any:
        found = real(folder)
        if not looked.is_set():
            looked.set()
            renamed(mine, first["name"], "second")
            other.start()
            other.join(0.2)
        return found

    other = threading.Thread(target=complete, args=(mine,))
    monkeypatch.setattr(sites, "models_in", slow)
    complete(mine)
    other.join()
    assert [model["name"] for model in models(mine)] == sorted([first["name"], "second"])


def visited(files: Mapping[str, bytes]) -> set[str]:
    """What a browser loads to answer: what the page names, and what that imports; not what measures."""
    found, left = set[str](), {"index.html", *LATER}
    while left:  # a larger icon is for the home screen, the notices are for who follows the link
        name = left.pop()
        found.add(name)
        text = files[name].decode() if name.endswith((".html", ".js")) else ""
        named = re.findall(r'(?:rel="(?:stylesheet|icon|manifest)" href|src|from)[= ]"(?:\./)?([^"#]+)"', text)
        left |= {posixpath.normpath(posixpath.join(posixpath.dirname(name), each)) for each in named} - found
    return found


def test_page_and_engine_are_less_than_a_photo(site: Exported) -> None:
    folder = site.path.parent
    (model,) = models(folder)
    shipped = {name: (folder / name).read_bytes() for name in site_files()}
    visit = visited(shipped)
    assert {"edgecvx.js", "proof.js", "parts/look.css"} <= visit and not {"bench.js", "device.js", "timed.js"} & visit
    engine = (folder / model["wasm"]).read_bytes()
    assert compressed([*(shipped[name] for name in visit), engine]) < VISIT_AT_MOST
    assert compressed(shipped.values()) < FILES_AT_MOST


def test_what_does_not_compress_counts_whole() -> None:
    assert compressed([np.random.default_rng(0).bytes(FILES_AT_MOST)]) > FILES_AT_MOST
