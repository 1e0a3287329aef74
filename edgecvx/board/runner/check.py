"""Whether this device has what an order needs, and the one command that installs what it lacks."""

from __future__ import annotations

import json
import os
import platform
import shlex
import shutil
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from edgecvx.board.engines import load
from edgecvx.board.engines.base import Missing, Refused
from edgecvx.board.runner.order import Order
from edgecvx.board.runner.worker_process import environment, place

_PROBE = (
    "import sys; sys.path[:] = [{place!r}] + [p for p in sys.path if p]; "
    "from edgecvx.board.runner.check import probe; probe({runtime!r}, {options!r})"
)
_PATIENCE = 300.0
_ENVIRONMENT = "~/.edgecvx-venv"


def check(order: Order) -> dict[str, Any]:
    """Imports everything the order needs, each in a process of its own, so that native code that dies ends nothing."""
    needed: list[tuple[str, dict[str, str]]] = [("numpy", {})]
    needed += [(artifact.runtime, dict(artifact.options)) for artifact in order.artifacts]
    if order.end_to_end:
        needed.append(("PIL", {}))
    missing: list[str] = []
    notes: list[str] = []
    for number, (what, options) in enumerate(needed):
        if (what, options) in needed[:number]:
            continue
        package, note = _ask(what, options)
        if package == "PIL":
            note = f"without Pillow there are no end-to-end times: {install_command(['pillow'])}"
        elif package is not None and package not in missing:
            missing.append(package)
        if note is not None:
            notes.append(note)
    fatal = [note for note in notes if "Pillow" not in note]
    if missing and _managed() is not None:
        notes.append(f"the system manages this Python; name {_ENVIRONMENT}/bin/python for this device afterwards")
    return answer_of(missing, notes, ok=not missing and not fatal)


def answer_of(missing: list[str], notes: list[str], *, ok: bool) -> dict[str, Any]:
    """What is printed: the packages that are missing, with the commands that install them, and what else to know."""
    return {
        "python": platform.python_version(),
        "ok": ok,
        "missing": [{"what": package, "install": install_command([package])} for package in missing],
        "install": install_command(missing) if missing else None,
        "notes": notes,
    }


def probe(what: str, options: dict[str, str]) -> None:
    """In the child: imports one thing and says how that went."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    answer: dict[str, str] = {}
    try:
        if what in ("numpy", "PIL"):
            __import__(what)
        else:
            load(what, options)
    except Missing as error:
        answer = {"missing": error.package}
    except ModuleNotFoundError as error:
        # numpy under a runtime is asked for by itself; what else is missing under it is a broken installation.
        known = {"numpy": {}, what: {"missing": what}}
        answer = known.get(error.name or "", {"refused": f"{what}: {error}"})
    except (Refused, ImportError) as error:
        answer = {"refused": f"{what}: {error}"}
    out.write(json.dumps(answer))
    out.flush()


def install_command(packages: list[str]) -> str:
    """What to type on the device."""
    names = " ".join(packages)
    managed = _managed()
    if managed is not None:
        # Debian and Raspberry Pi OS refuse pip outside a virtual environment, and ask for one.
        return (
            f"{_python()} -m venv --system-site-packages {_ENVIRONMENT} && "
            f"{_ENVIRONMENT}/bin/python -m pip install {names}"
        )
    return f"{_python()} -m pip install {names}"


def _ask(what: str, options: dict[str, str]) -> tuple[str | None, str | None]:
    """The package that is missing, or what else is wrong, in a sentence; neither where all is well."""
    code = _PROBE.format(place=place(), runtime=what, options=options)
    try:
        done = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(1),
            timeout=_PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return None, f"{what} could not be loaded within {_PATIENCE:.0f} s"
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        return None, f"{what} dies with {name} when it is loaded: it was built for another processor"
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        return None, f"{what} could not be loaded: it ended with exit code {done.returncode}"
    return answer.get("missing"), answer.get("refused")


def _python() -> str:
    """How this Python is called on its device."""
    found = shutil.which("python3")
    same = found is not None and Path(found).resolve() == Path(sys.executable).resolve()
    return "python3" if same and sys.prefix == sys.base_prefix else shlex.quote(sys.executable)


def _managed() -> Path | None:
    """The mark of a Python in which pip installs nothing (PEP 668)."""
    mark = Path(sysconfig.get_path("stdlib")) / "EXTERNALLY-MANAGED"
    return mark if sys.prefix == sys.base_prefix and mark.is_file() else None
