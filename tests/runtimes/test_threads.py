"""Numbers of threads that hang a runtime are refused before any runtime sees them."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgecvx.accuracy.validate import validate
from edgecvx.cli import main as cli
from edgecvx.errors import UsageError
from edgecvx.runtimes import MOST_THREADS, RUNTIMES, open_session


@pytest.mark.parametrize("isolated", [True, False])
@pytest.mark.parametrize("threads", [-1, 0, MOST_THREADS + 1, 100_000])
@pytest.mark.parametrize("runtime", RUNTIMES)
def test_a_session_is_not_opened_with_them(runtime: str, threads: int, isolated: bool) -> None:
    with pytest.raises(UsageError, match=f"{threads} threads do not work: it must be from 1 to {MOST_THREADS}"):
        open_session(runtime, Path("no-such-file"), threads=threads, isolated=isolated)


def test_nor_is_pytorch_started_with_them() -> None:
    with pytest.raises(UsageError, match="100000 threads do not work"):
        validate("no-such-file.onnx", threads=100_000)


@pytest.mark.parametrize("arguments", [["validate", "no-such-file.onnx"]])
def test_the_command_says_so_in_one_line(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run([*arguments, "--threads", "100000"]) == 2
    (line,) = capfd.readouterr().err.strip().splitlines()
    assert line == f"error: 100000 threads do not work: it must be from 1 to {MOST_THREADS}"
