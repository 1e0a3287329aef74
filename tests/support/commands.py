"""How tests run the command line, and hold what it refuses to the contract."""

from __future__ import annotations

import pytest

from edgecvx.cli import main as cli

CLASSES = 37
"""Of the checkpoint that the tests of the command line export."""


def fails(arguments: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    """Runs a command that must fail as the contract says; returns its one line."""
    capfd.readouterr()
    code = cli.run(arguments)
    captured = capfd.readouterr()
    lines = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    assert code == 2
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    assert not captured.out
    return lines[0]
