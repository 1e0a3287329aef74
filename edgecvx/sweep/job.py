"""A job of a sweep: what is to be done, known by the hash of everything that its result depends on.

Two jobs with one key have one result, whoever computes it and when. A key holds the content of files and never their
names or places, the versions of what computes, and the keys of the jobs before; gates on latency and size, which are
judged from results, are in none.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from edgecvx import __version__

Kind = Literal["export", "validate", "bench"]
VERSION = 1
"""Of what a job's result is made of; another one makes every result anew."""
COMPUTING = ""
"""The lane of jobs that machines compute; a job of a device is in the lane of its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One piece of work with one result, a folder in the store."""

    kind: Kind
    name: str
    """For people; nothing depends on it."""
    depends: Mapping[str, Any]
    """Everything the result depends on, as plain JSON values, beside the jobs before."""
    before: tuple[str, ...] = ()
    """The keys of the jobs whose results it takes."""
    call: Mapping[str, Any]
    """What it is carried out with: the same facts with the places of files."""
    together: str
    """Jobs that say the same here and wait for nothing are best done in one call."""
    lane: str = COMPUTING
    scale: Mapping[str, float]
    """What its time and size grow with."""
    key: str = field(init=False)

    def __post_init__(self) -> None:
        whole = {"job": VERSION, "edgecvx": __version__, "kind": self.kind, "depends": self.depends}
        object.__setattr__(self, "key", hash_of({**whole, "before": list(self.before)}))


def hash_of(value: object) -> str:
    """SHA-256 of plain JSON values."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def hash_of_lines(lines: Iterable[str]) -> str:
    """SHA-256 of many texts, without one of them all."""
    digest = hashlib.sha256()
    for line in lines:
        digest.update(f"{line}\n".encode())
    return digest.hexdigest()


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """What is installed of these packages."""
    return {name: _version(name) for name in sorted(set(packages))}


@functools.cache
def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None
