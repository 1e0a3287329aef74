"""Where the command line begins: ``edgecvx`` and ``python -m edgecvx``."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command line; Ctrl-C is told in one line from the first moment on, imports included."""
    try:
        from edgecvx.cli import main as run

        run()
    except KeyboardInterrupt:
        sys.stderr.write("error: stopped\n")
        sys.exit(2)


if __name__ == "__main__":
    main()
