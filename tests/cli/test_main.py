"""The command line's contract with those who read it: pipes, closed streams, terminals, exit codes."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest


def program(*arguments: str) -> list[str]:
    return [sys.executable, "-c", "from edgecvx.cli.main import main; main()", *arguments]


@pytest.mark.parametrize("command", [["models"], ["models", "--json"]])
def test_a_reader_who_has_seen_enough_is_no_error(command: list[str]) -> None:
    """``edgecvx models | head -1``: 1 would be the code of a failed gate."""
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as pipe:
        process = subprocess.run(program(*command), stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_verdict_does_not_depend_on_who_reads_it() -> None:
    """``edgecvx bench … | head -1`` in continuous integration: the gate failed all the same, and files are written."""
    script = (
        "from edgecvx.cli import main as cli, show\n"
        "@cli.app.command('judge')\n"
        "def judge(raw: bool = False) -> int:\n"
        "    with show.for_whoever_reads():\n"
        "        (print if raw else show.out.print)('\\n'.join(map(str, range(20_000))))\n"
        "    show.error('written')\n"
        "    return 1\n"
        "cli.main()"
    )
    for raw in ([], ["--raw"]):
        command = [sys.executable, "-c", script, "judge", *raw]
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            process = subprocess.run(command, stdout=pipe, stderr=subprocess.PIPE, text=True, check=False)
            silent = subprocess.run(command, stdout=pipe, stderr=pipe, check=False)
        assert (process.returncode, process.stderr) == (1, "error: written\n")
        assert silent.returncode == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-"])
def test_a_closed_stream_is_one_nobody_reads(closed: str) -> None:
    command = f'exec "$0" -m edgecvx models {closed}'
    process = subprocess.run(["sh", "-c", command, sys.executable], capture_output=True, text=True, check=False)
    assert (process.returncode, process.stderr) == (0, "")


def test_a_terminal_without_our_characters_shows_others() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    process = subprocess.run(program("models"), capture_output=True, text=True, env=environment, check=False)
    assert (process.returncode, process.stderr) == (0, "")
    assert "convnextv2_femto.fcmae " in process.stdout
