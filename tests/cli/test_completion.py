"""Shells complete verbs and options, and help shows verbs by the job they are for."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgecvx.cli import main as cli

ROOT = Path(__file__).parents[2]


def answered(*words: str) -> set[str]:
    """What bash is told could stand for the last of these words."""
    asked = {"_EDGECVX_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    environment = {**os.environ, **asked, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "edgecvx"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    return set(done.stdout.split())


def test_a_verb_and_an_option_are_completed() -> None:
    assert answered("edgecvx", "ex") == {"export"}
    assert answered("edgecvx", "bench", "--max-") == {"--max-p50", "--max-ratio"}


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_understands(shell: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", shell]) == 0
    script = capfd.readouterr().out
    assert "_EDGECVX_COMPLETE" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True)


def test_a_shell_that_is_not_known_is_named_with_those_that_are(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["completion", "tcsh"]) == 2
    assert "bash" in capfd.readouterr().err


def test_help_shows_every_verb_under_its_job(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.run(["--help"]) == 0
    shown = capfd.readouterr().out
    places = [shown.index(job) for job in cli.JOBS]
    assert places == sorted(places)
    names = [verb.__name__.replace("_", "-") for verbs in cli.JOBS.values() for verb in verbs]
    assert all(f" {name} " in shown for name in names)


def test_no_color_is_kept_to() -> None:
    command = [sys.executable, "-m", "edgecvx", "export", "nothing", "-t", "nowhere"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "FORCE_COLOR": "1"}
    done = [
        subprocess.run(command, env={**environment, **extra}, capture_output=True, text=True, check=False).stderr
        for extra in ({}, {"NO_COLOR": "1"})
    ]
    assert "\x1b[31m" in done[0] or "\x1b[1;31m" in done[0], "the twin: there are colours to leave out"
    assert "\x1b[31m" not in done[1] and "\x1b[1;31m" not in done[1]
