"""What holds for every test: one thread, no network, no user's cache, quiet frameworks, and an end for what hangs."""

from __future__ import annotations

import atexit
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, Any

import pytest

# Before anything imports a framework: they read these once, and child processes inherit them.
os.environ |= {
    "OMP_NUM_THREADS": "1",  # the suite runs one process per core; sums also keep their order
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",  # the reference is the CPU, also on a workstation with a GPU
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TRANSFORMERS_VERBOSITY": "error",
    "DO_NOT_TRACK": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",  # it does not obey the line above
}
os.environ.setdefault("HF_HUB_OFFLINE", "1")
# An empty hub cache: what somebody downloaded on this machine must not decide what `--weights auto` takes.
os.environ["HF_HOME"] = tempfile.mkdtemp(prefix="edgecvx-tests-hub-")
os.environ["HF_HUB_CACHE"] = os.path.join(os.environ["HF_HOME"], "hub")  # noqa: PTH118 (a string for the environment)
atexit.register(shutil.rmtree, os.environ["HF_HOME"], ignore_errors=True)
# What zig builds of a platform's C library takes seconds: once for all tests, also for those in other processes.
if "ZIG_GLOBAL_CACHE_DIR" not in os.environ:
    os.environ["ZIG_GLOBAL_CACHE_DIR"] = tempfile.mkdtemp(prefix="edgecvx-tests-zig-")
    atexit.register(shutil.rmtree, os.environ["ZIG_GLOBAL_CACHE_DIR"], ignore_errors=True)

# Tests that time something take turns with nobody: each process is a machine of its own.
os.environ["EDGECVX_LEASES"] = tempfile.mkdtemp(prefix="edgecvx-tests-leases-")
atexit.register(shutil.rmtree, os.environ["EDGECVX_LEASES"], ignore_errors=True)

pytest_plugins = ["small_classifier", "native_artifacts", "sites", "browsers"]

import support  # noqa: E402 (after the environment is set)
import waiting  # noqa: E402

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from edgecvx.models.convnext import ConvNeXt
    from edgecvx.spec import ArchSpec

_LOCAL = ("", "localhost", "127.", "::1", "0.0.0.0")
_attempts: list[str] = []


def _refuse_network(event: str, args: tuple[Any, ...]) -> None:
    """The interpreter's own audit hook: sees every Python socket, also those of C extensions and background threads."""
    if event == "socket.getaddrinfo":
        host = args[0]
    elif event in ("socket.connect", "socket.sendto"):
        if not isinstance(args[1], tuple):  # a unix socket's address is its path
            return
        host = args[1][0]
    else:
        return
    name = host.decode() if isinstance(host, bytes) else str(host or "")
    if name == "" or name.startswith(_LOCAL[1:]):
        return
    _attempts.append(f"{event} {name}")
    raise PermissionError(f"tests do not use the network: {event} to {name!r}")


sys.addaudithook(_refuse_network)
waiting.hand_on_signals()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    with waiting.last_resort():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    with waiting.last_resort():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    with waiting.last_resort():
        return (yield)


@pytest.fixture(autouse=True)
def network_attempts() -> Iterator[list[str]]:
    """Fails a test in which something tried to reach another machine, even where the refusal was swallowed.

    Telemetry runs in threads that swallow every error, so the attempt is what counts. The list is empty for all but
    the test of this guard.
    """
    _attempts.clear()
    yield _attempts
    assert not _attempts, f"tried to use the network: {', '.join(_attempts)}"


@pytest.fixture(scope="session")
def small_arch() -> ArchSpec:
    """A V2 architecture with every kind of layer and little arithmetic."""
    return support.SMALL


@pytest.fixture(scope="session")
def small_network() -> Callable[..., ConvNeXt]:
    """Makes seeded small networks: ``small_network(seed=1, act="silu")``; see ``support.network``."""
    return support.network


@pytest.fixture(scope="session")
def probe() -> Callable[..., NDArray[np.float32]]:
    """Makes seeded inputs: ``probe(batch, size)``; see ``support.probe``."""
    return support.probe
