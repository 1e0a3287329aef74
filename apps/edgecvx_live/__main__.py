"""Where the command begins: ``edgecvx-live`` and ``python -m edgecvx_live``."""

from __future__ import annotations

from edgecvx.__main__ import start


def main() -> None:
    """Runs the command."""
    start("edgecvx_live.main", "edgecvx-live: stopped")


if __name__ == "__main__":
    main()
