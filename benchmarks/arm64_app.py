"""The live app on an emulated 64-bit Arm board: installed by the board's own script, and does it see what we see?

    tools/processors/board.sh BOARD '?essential' python3-venv # once: a board that can be entered
    python benchmarks/arm64_app.py BOARD model-int8.tflite    # as root: about ten minutes, most of it pip

What is installed there starts programs by their names, so the kernel has to know the emulator: Debian's packages
qemu-user-static and binfmt-support. The board is a copy of BOARD's files. It gets aarch64 wheels and the checkout's
tracked files, has neither a compiler nor an index to install from, and runs ``apps/raspberry_pi/install.sh``. Then
``edgecvx-live`` classifies drawn frames there, and the same file classifies the same frames here: each frame is known
by its number.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from arm64 import TARGETS
from paths import HERE

import edgecvx
from edgecvx.manifest import manifest_path

CHECKOUT = HERE.parent
PREFIX = "/opt/edgecvx-live"
WHEELS = (
    *("numpy", "Pillow", "typer", "rich", "psutil", "ai-edge-litert"),
    *("starlette", "uvicorn", "websockets", "setuptools>=77"),
)
_GLIBC = ("2014", "_2_17", "_2_27", "_2_28", "_2_31", "_2_34", "_2_35")
_JAIL = """
set -eu
mount --rbind /dev "$0/dev"                     # for this program alone: it has a mount namespace of its own
mount -t proc proc "$0/proc"
mount --bind "$0/tmp/cpuinfo" "$0/proc/cpuinfo"
exec chroot "$0" "$@"
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("board", type=Path, help="what tools/processors/board.sh has built")
    parser.add_argument("artifact", type=Path, help="a .tflite of the demo weights, its manifest beside it")
    parser.add_argument("--frames", type=int, default=6, help="each takes up to twenty seconds")
    parser.add_argument("--core", choices=list(TARGETS), default=next(iter(TARGETS)))
    options = parser.parse_args(arguments)
    board, core = options.board.with_name(f"{options.board.name}-app"), options.core
    if not board.exists():
        subprocess.run(["cp", "-a", str(options.board / "root"), str(board)], check=True)
    shutil.copy(options.board / core / "proc" / "cpuinfo", board / "tmp")
    prepare(board, options.artifact)
    script = "/src/apps/raspberry_pi/install.sh"
    on_board(board, core, [script, "--no-apt", "--no-service", "--prefix", PREFIX, f"/src/{options.artifact.name}"])
    live = [f"{PREFIX}/venv/bin/edgecvx-live", f"{PREFIX}/artifacts/{options.artifact.name}", "--source", "demo:seed=0"]
    live += ["--smoothing", "0", "--threads", "1", "--frames", str(options.frames), "--json-lines"]
    lines = on_board(board, core, live)
    return compare(lines.splitlines(), options.artifact)


def prepare(board: Path, artifact: Path) -> None:
    """Puts wheels, checkout and artifact on the board."""
    platforms = [word for glibc in _GLIBC for word in ("--platform", f"manylinux{glibc}_aarch64")]
    download = [sys.executable, "-m", "pip", "download", "--quiet", "--dest", str(board / "wheels")]
    download += ["--only-binary=:all:", *platforms, "--python-version", "3.11", "--implementation", "cp"]
    subprocess.run([*download, "-c", str(CHECKOUT / "constraints.txt"), *WHEELS], check=True)
    shutil.rmtree(board / "src", ignore_errors=True)
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    for name in filter(None, listed.stdout.split("\0")):
        target = board / "src" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(CHECKOUT / name, target)
    for file in (artifact, manifest_path(artifact)):
        shutil.copy(file, board / "src")
    if found := [name for name in ("cc", "gcc", "c++", "clang") if (board / "usr" / "bin" / name).exists()]:
        raise SystemExit(f"{board} has a compiler ({found[0]}): it proves nothing about a board without one")


def on_board(board: Path, core: str, command: Sequence[str]) -> str:
    """Runs a command on the board; what it wrote to standard output."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LANG": "C.UTF-8", "QEMU_CPU": core}
    environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels", "OPENBLAS_NUM_THREADS": "1"}
    jail = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _JAIL]
    done = subprocess.run(
        [*jail, str(board), *command], env=environment, stdout=subprocess.PIPE, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{command[0]} ended with {done.returncode} on the board")
    return done.stdout


def compare(lines: Sequence[str], artifact: Path) -> int:
    """Prints both machines' answers; 0 when their first classes agree on every frame."""
    sys.path.insert(0, str(CHECKOUT / "apps"))
    from edgecvx_live.sources.demo import frame

    same = 0
    print("| frame | on the board | here | largest difference of the five logits |\n|---|---|---|---|")
    with edgecvx.load(artifact, threads=1) as opened:
        for line in lines:
            result = json.loads(line)
            (here,) = opened.predict([frame(result["frame"])], top=1000)
            there = result["readings"][0]["top"]
            logits = {ranked.index: ranked.logit for ranked in here}
            difference = max(abs(ranked["logit"] - logits[ranked["index"]]) for ranked in there)
            same += there[0]["index"] == here[0].index
            print(f"| {result['frame']} | {there[0]['label']} | {here[0].label} | {difference:.2f} |")
    print(f"\nthe same first class on {same} of {len(lines)} frames")
    return 0 if same == len(lines) > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
