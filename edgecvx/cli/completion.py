"""``edgecvx completion``: what a shell reads to complete verbs and options."""

from __future__ import annotations

import enum
import os
from typing import Annotated

import typer
from typer.completion import completion_init, get_completion_script  # type: ignore[attr-defined]  # no __all__ there

ASKED = "_EDGECVX_COMPLETE"
"""Set by the script while the shell asks what could follow."""


class Shell(str, enum.Enum):
    """One that can be completed in."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell that reads it.")]) -> None:
    """Print what makes a shell complete verbs and options: source <(edgecvx completion bash) in ~/.bashrc."""
    typer.echo(get_completion_script(prog_name="edgecvx", complete_var=ASKED, shell=shell.value))


def prepare() -> None:
    """Makes the command line answer a shell that asks; nothing where none does."""
    if ASKED in os.environ:
        completion_init()
