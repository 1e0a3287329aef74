"""The service worker's list of files: in it are all of a site, and it changes with any of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from edgecvx.errors import ExportError
from edgecvx.files import file_sha256
from edgecvx.web.files import site_files
from edgecvx.web.offline import EMPTY, WORKER, with_files

if TYPE_CHECKING:
    from small_classifier import Exported


def version(worker: bytes) -> str:
    found = re.search(rb'"version": "([0-9a-f]{16})"', worker)
    assert found is not None
    return found[1].decode()


def test_the_worker_of_a_site_lists_every_file_that_a_page_may_ask_for(site: Exported) -> None:
    folder = site.path.parent
    text = (folder / WORKER).read_bytes()
    files = [path for path in folder.rglob("*") if path.is_file() and not path.name.endswith(".plan.json")]
    for path in files:
        name = path.relative_to(folder).as_posix()
        assert (f'"{name}": "{file_sha256(path)}"'.encode() in text) is (name != WORKER), name


def test_it_is_another_worker_when_one_byte_of_one_file_is_another() -> None:
    static = site_files()[WORKER]
    one, same, other = (
        with_files(static, hashes) for hashes in ({"a": "1", "b": "2"}, {"b": "2", "a": "1"}, {"a": "1", "b": "3"})
    )
    assert one == same != other
    assert version(one) != version(other)


def test_a_worker_that_could_not_be_told_is_not_written() -> None:
    with pytest.raises(ExportError, match="has no place for the names of a site's files"):
        with_files(site_files()[WORKER].replace(EMPTY, b"{}"), {"a": "1"})
