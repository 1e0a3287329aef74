"""Where the command line begins: ``edgecvx`` and ``python -m edgecvx``."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path


def main() -> None:
    """Runs the command line."""
    start("edgecvx.cli.main", "error: stopped")


def start(module: str, stopped: str) -> None:
    """Runs a module's ``main``; Ctrl-C is told in one line from the first moment on, its imports included.

    Args:
        module: What takes time to import, and has the ``main``.
        stopped: What is told after Ctrl-C.
    """
    for name in ("stdin", "stdout", "stderr"):  # one that was closed (``>&-``) would be the number of the next file
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115
    try:
        importlib.import_module(module).main()
    except KeyboardInterrupt:
        sys.stderr.write(f"{stopped}\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
