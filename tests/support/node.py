"""Scripts in Node, with the engine at hand: what they say is JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

NODE = shutil.which("node")
HELP = Path(__file__).with_name("node_engine.mjs")


def run_node(script: str, folder: Path) -> Any:
    """Runs a module in which ``engine``, ``read``, ``write``, ``say`` … of ``node_engine.mjs`` are known.

    Args:
        script: The module's text, without imports.
        folder: Of the files that it reads and writes.

    Returns:
        What it said, once.
    """
    names = "ended, engine, floats, folder, read, refusal, say, write"
    path = folder / "script.mjs"
    path.write_text(f"import {{ {names} }} from {json.dumps(HELP.as_uri())};\n{script}\n")
    command = [str(NODE), "--no-warnings", str(path), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    if done.returncode:
        raise AssertionError(done.stderr[-3000:])
    return json.loads(done.stdout)
