"""A process that runs a network keeps the memory that it frees, whatever Dask's nanny has said to the C library."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from support import PATHS

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="it is glibc that is told")

_PROGRAM = """
import ctypes, os, resource, sys
from edgecvx.runtimes.memory import keep_freed_memory
if sys.argv[1] == "kept":
    keep_freed_memory()
libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes, libc.free.argtypes = ctypes.c_void_p, [ctypes.c_size_t], [ctypes.c_void_p]
before = 0
for turn in range(20):
    if turn == 10:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = libc.malloc(8 << 20)
    ctypes.memset(block, turn, 8 << 20)
    libc.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before, os.environ.get("MALLOC_TRIM_THRESHOLD_"))
"""


def faults(how: str, setting: str | None) -> tuple[int, str]:
    """Pages that the system had to give for ten blocks of the size of those before, and the setting afterwards."""
    environment = {**os.environ, "PYTHONPATH": PATHS}
    environment |= {} if setting is None else {"MALLOC_TRIM_THRESHOLD_": setting}
    command = [sys.executable, "-c", _PROGRAM, how]
    said = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout.split()
    return int(said[0]), said[1]


@pytest.mark.parametrize("setting", [None, "65536"])
def test_tensors_of_one_size_after_another_take_the_same_pages(setting: str | None) -> None:
    count, left = faults("kept", setting)
    assert count < 10 and left == "None"


def test_without_it_every_tensor_takes_new_pages() -> None:
    """The twin: Dask's setting as it is; pages may be as large as a block."""
    count, _ = faults("as it is", "65536")
    assert count >= 10


def test_a_setting_that_a_user_made_stays() -> None:
    _, setting = faults("kept", "131072")
    assert setting == "131072"
