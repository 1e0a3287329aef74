"""A function of edgecvx with its arguments, as it travels to a worker, and what runs it there.

A worker is told a name, imports it and calls it: nothing of a user's program is sent. Arguments are plain values,
arrays, and dataclasses of this package.
"""

from __future__ import annotations

import errno
import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecvx.cluster.facts import this_worker
from edgecvx.cluster.refusals import DiskFullError, UnlikeError
from edgecvx.errors import UsageError
from edgecvx.runtimes.memory import keep_freed_memory

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What a system says where there is no room: on the disk, for this user, for one file."""
_heard_by: list[str] = []
"""The topic of the call that this worker does; it does one at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What a worker is asked to do."""

    function: str
    """``edgecvx.accuracy.shard:measured``."""
    args: tuple[Any, ...]
    key: str
    """What tells it apart from every other, for people too."""
    topic: str
    """Of the words that its worker sends meanwhile: those of one client."""
    watched: bool
    """Whether its worker says when it begins."""
    alike: tuple[str, ...]
    """The digests of the facts of workers that may do it; another one refuses."""


def name_of(function: Callable[..., Any]) -> str:
    """The name by which a worker finds a function.

    Raises:
        UsageError: It is not a function at the top of a module of edgecvx.
    """
    name = f"{function.__module__}:{function.__qualname__}"
    if _found(name) is not function:
        raise UsageError(f"{name} cannot run on a cluster: only functions at the top of edgecvx's modules can")
    return name


def perform(call: Call) -> Any:
    """Runs a call; this is the one function that Dask itself is given.

    Raises:
        UnlikeError: This worker's answers would be of another kind than those of the workers that were asked.
        DiskFullError: It has no room.
    """
    keep_freed_memory()
    facts = this_worker()
    if facts.digest not in call.alike:
        raise UnlikeError(facts.worker, f"is not as those that were asked: {facts.processor}, {dict(facts.versions)}")
    # Caches of a worker lie in its own folder, as all else that it writes.
    os.environ["EDGECVX_CACHE"] = str(folder() / "cache")
    _heard_by[:] = [call.topic]
    if call.watched:
        tell(call.key, 0, 0)
    try:
        return _found(call.function)(*call.args)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFullError(facts.worker, f"{error.strerror} below {folder()}") from None
        raise


def tell(key: str, done: int, of: int) -> None:
    """Says how far a call is, to whoever asked for it; where nobody did, nothing."""
    worker = _worker()
    if worker is not None and _heard_by:
        worker.log_event(_heard_by[0], {"worker": worker.address, "key": key, "done": done, "of": of})


def folder() -> Path:
    """The one folder below which a worker writes; Dask removes it with the worker."""
    worker = _worker()
    if worker is None:
        raise UsageError("this is no worker of a cluster")
    return folder_of(worker)


def folder_of(worker: Any) -> Path:
    """The same of one of them; no module has its name, since Dask puts what lies around it first in ``sys.path``."""
    return Path(worker.local_directory) / "edgecvx-files"


def here() -> str:
    """The address of the worker that this process is."""
    worker = _worker()
    return "here" if worker is None else str(worker.address)


def _worker() -> Any:
    from distributed import get_worker

    try:
        return get_worker()
    except ValueError:
        return None


def _found(name: str) -> Any:
    module, _, function = name.partition(":")
    if module != "edgecvx" and not module.startswith("edgecvx."):
        return None
    return getattr(importlib.import_module(module), function, None)
