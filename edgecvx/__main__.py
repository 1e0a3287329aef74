"""Where the command line begins: ``edgecvx`` and ``python -m edgecvx``."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Runs the command line; Ctrl-C is told in one line from the first moment on, imports included."""
    for name in ("stdin", "stdout", "stderr"):  # one that was closed (``>&-``) would be the number of the next file
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115
    try:
        from edgecvx.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
