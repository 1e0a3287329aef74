"""The folder of a site: artifacts, and beside them the page, written anew after each export.

Everything is written from what lies in the folder, so several exports into one add up, and a page of another edgecvx is
replaced. The list of models comes last: a page that can be opened finds what the list names.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

from edgecvx.errors import UsageError
from edgecvx.files import publish_together
from edgecvx.web.comments import without_comments
from edgecvx.web.files import site_files
from edgecvx.web.models import MODELS, Models, models_in
from edgecvx.web.offline import WORKER, with_files

PAGE = "index.html"
MARK = b'<meta name="generator" content="edgecvx">'
"""By which a page of ours is known, of whatever version."""


def check(folder: Path) -> None:
    """Refuses a folder in which a site would replace somebody's own files.

    Raises:
        UsageError: It holds a page that is not ours, or files of the names of ours without our page.
    """
    others = [name for name in (PAGE, MODELS, *site_files()) if (folder / name).exists()]
    if others and not _is_ours(folder):
        raise UsageError(
            f"{folder / others[0]} is not edgecvx's, and a site would replace it: export into a folder of its own, "
            f"--out {folder / 'site'}"
        )


def complete(folder: Path) -> tuple[str, ...]:
    """Writes what makes a site of the artifacts in a folder.

    Returns:
        Sentences for the user: how large it is, and what is not in it.
    """
    told: list[str] = []

    def describe() -> Mapping[str, bytes]:
        static = {name: without_comments(name, content) for name, content in site_files().items()}
        found = models_in(folder)
        told[:] = [_size(folder, static, found), *found.left_out]
        return _files(static, found)

    publish_together(folder, describe)
    return tuple(told)


def renew(folder: Path) -> tuple[str, ...]:
    """Writes the list of models anew where a folder is a site, of which an artifact may have been replaced."""
    return complete(folder) if _is_ours(folder) else ()


def compressed(files: Iterable[bytes]) -> int:
    """Bytes that travel where a server compresses, each file for itself."""
    return sum(len(gzip.compress(content, compresslevel=9, mtime=0)) for content in files)


def _is_ours(folder: Path) -> bool:
    try:
        return MARK in (folder / PAGE).read_bytes()
    except OSError:
        return False


def _files(static: Mapping[str, bytes], found: Models) -> Mapping[str, bytes]:
    """Everything beside the artifacts, in the order in which it is written: by its page a site is known as ours."""
    text = found.text
    kept = {name: hashlib.sha256(content).hexdigest() for name, content in static.items() if name != WORKER}
    hashes = {**kept, **found.sha256, MODELS: hashlib.sha256(text).hexdigest()}
    files = {**static, **found.probes, WORKER: with_files(static[WORKER], hashes)}
    return {**{name: files.pop(name) for name in (PAGE,) if name in files}, **files, MODELS: text}


def _size(folder: Path, static: Mapping[str, bytes], found: Models) -> str:
    engines = [(folder / model.engines["wasm32"]).read_bytes() for model in found.models[:1]]
    models = ", ".join(f"{model.name} {model.bytes / 1e6:.1f} MB" for model in found.models)
    return (
        f"{folder} is a site: its page and engine are {compressed([*static.values(), *engines]) / 1e3:.0f} kB "
        f"compressed, its models {models or 'none'}; to try it: python -m http.server --directory {folder}"
    )
