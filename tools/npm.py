"""Puts the JavaScript package together, for projects of one's own: the modules without the page, types, the licence.

It is not published. ``make npm`` writes it; ``npm install path/to/build/npm`` takes it into a project.
"""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from edgecvx.web.files import site_files  # noqa: E402

COMPILER = ROOT / "node_modules" / ".bin" / "tsc"
MODULES = ("edgecvx.js", "engine.js", "worker.js", "thread.js", "pictures.js", "proof.js")
"""What a project may import; what these import comes along."""
TYPES = (
    *("--allowJs", "--checkJs", "--strict", "--declaration", "--emitDeclarationOnly"),
    *("--target", "ES2022", "--module", "ES2022", "--moduleResolution", "bundler"),
    *("--lib", "ES2022,DOM,DOM.Iterable,DOM.AsyncIterable"),
)


_LINK = re.compile(r'(?:\bfrom |\bimport\(|\bimport |new URL\()"\./([^"]+)"')
"""How a module names another one, also in a comment that says a type."""


def reached(files: Mapping[str, bytes], starts: Sequence[str]) -> tuple[str, ...]:
    """The modules that some of them bring, these first.

    Args:
        files: Every file, by name; all modules lie in one folder.
        starts: Where one begins.
    """
    found = list(starts)
    for name in found:  # which grows meanwhile
        for match in _LINK.finditer(files[name].decode()):
            if match[1] in files and match[1] not in found:
                found.append(match[1])
    return tuple(found)


def write(folder: Path) -> tuple[str, ...]:
    """Writes the package anew into a folder; the names of its modules."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    files = site_files()
    names = reached(files, MODULES)
    for name in names:
        (folder / name).write_bytes(files[name])
    shutil.copy(ROOT / "LICENSE", folder)
    shutil.copy(ROOT / "edgecvx" / "web" / "npm" / "package.json", folder)
    subprocess.run(["node", str(COMPILER), *TYPES, "--ignoreConfig", *names], cwd=folder, check=True)
    return names


def main() -> None:
    """Writes it where it is asked to."""
    parser = argparse.ArgumentParser(description="the JavaScript package, for projects of one's own")
    parser.add_argument("--out", type=Path, default=ROOT / "build" / "npm")
    folder = parser.parse_args().out
    names = write(folder.absolute())
    print(f"{folder}: {', '.join(names)}; take it into a project with npm install {folder}")


if __name__ == "__main__":
    main()
