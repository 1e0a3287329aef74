"""Where the command begins: ``edgecvx-live`` and ``python -m edgecvx_live``."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def main() -> None:
    """Runs the command; Ctrl-C is told in one line from the first moment on, imports included."""
    for name in ("stdin", "stdout", "stderr"):  # one that was closed (``>&-``) is one that nobody reads
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w"))  # noqa: SIM115
    try:
        from edgecvx_live.main import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("edgecvx-live: stopped\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
