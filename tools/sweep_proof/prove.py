"""What tests show with little, at length: ``prove.py [PART…]``.

``stopped``: a sweep of 24 files, stopped ten times at random moments (SIGKILL, SIGINT) and resumed, gives the report of
one that was not, does nothing twice that was done, and leaves no process. ``board``: two sweeps at once that want the
same board (a real sshd on loopback) never time it at once, by its own time stamps. ``killed``: the host of one is
killed while it measures; the other gets the board. Everything is started here and ends here.
"""

from __future__ import annotations

import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / folder) for folder in (".", "tests/support", "tests/samples")]
STOPS = 10
LOOKS = 600
"""A tenth of a second each: until then, what a sweep started has noticed that it is gone, and has ended."""
FORMS = ("sweep.json", "report.html", "report.md", "report.csv")
HEAD = """\
name = "proof"
targets = {targets}
precisions = ["fp32", "int8"]
image_sizes = [64]
"""
MODEL = '[[models]]\nname = "m{0}"\nmodel = "m{0}.safetensors"\nlabels = "labels.txt"\n'
REST = '[[calibrations]]\nname = "few"\nsamples = 8\n[[data]]\nname = "drawn"\nlimit = 48\n'
DEVICE = (
    '[[devices]]\nname = "board"\ndevice = "{0}"\npython = "{1}"\nruns = 200\nrounds = 10\nend_to_end = false\n'
    "memory = false\nthreads = [1]\n"
)


def networks(folder: Path, number: int) -> None:
    """Small networks over the drawn pictures' classes, each with weights of its own."""
    import support
    from safetensors.torch import save_file

    from edgecvx.data import demo

    for index in range(number):
        network = support.network(num_classes=len(demo.CLASSES), seed=index)
        save_file(network.state_dict(), str(folder / f"m{index}.safetensors"))
    (folder / "labels.txt").write_text("\n".join(demo.CLASSES))


def recipe(folder: Path, models: int, targets: list[str], more: str = "") -> Path:
    """A recipe of so many networks."""
    text = HEAD.format(targets=json.dumps(targets)) + "".join(MODEL.format(i) for i in range(models)) + REST + more
    path = folder / "proof.toml"
    path.write_text(text)
    return path


def started(path: Path, out: Path, env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """A sweep in a process of its own."""
    words = [sys.executable, "-m", "edgecvx", "sweep", str(path), "--out", str(out)]
    return subprocess.Popen(
        words, env={**env, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
    )


def finish(process: subprocess.Popen[bytes]) -> int:
    """Its exit code; what it said, where that is not 0 or 1."""
    said = process.communicate()[1].decode(errors="replace")
    if process.returncode not in (0, 1):
        print(said[-2000:])
    return process.returncode


def results(out: Path) -> dict[str, int]:
    """Key -> when its record was written, of every result that is there."""
    return {path.parent.name: path.stat().st_mtime_ns for path in out.glob("jobs/*/record.json")}


def until_alone(env: Mapping[str, str]) -> float:
    """Seconds until no process is left that was started with this cache."""
    began = time.monotonic()
    left: list[int] = []
    for _ in range(LOOKS):
        left = [p.pid for p in psutil.process_iter() if _cache_of(p) == env["EDGECVX_CACHE"]]
        if not left:
            return time.monotonic() - began
        time.sleep(0.1)
    raise AssertionError(f"still there {time.monotonic() - began:.0f} s after the sweep: {left}")


def _cache_of(process: psutil.Process) -> str | None:
    try:
        return process.environ().get("EDGECVX_CACHE") if process.status() != psutil.STATUS_ZOMBIE else None
    except (psutil.Error, OSError):
        return None


def stopped(folder: Path, env: Mapping[str, str]) -> None:
    """Kills a sweep again and again."""
    networks(folder, 4)
    path = recipe(folder, 4, ["onnx", "openvino", "tflite"])
    began = time.monotonic()
    assert finish(started(path, folder / "whole", {**env, "EDGECVX_CACHE": str(folder / "cache-a")})) in (0, 1)
    whole = time.monotonic() - began
    print(f"whole: {len(results(folder / 'whole'))} jobs in {whole:.0f} s", flush=True)
    generator = random.Random(2026)
    env = {**env, "EDGECVX_CACHE": str(folder / "cache-b")}
    for stop in range(STOPS):
        before = results(folder / "stopped")
        process = started(path, folder / "stopped", env)
        time.sleep(4 + generator.random() * whole / 4)
        how = generator.choice((signal.SIGKILL, signal.SIGINT))
        if process.poll() is None:
            process.send_signal(how)
        process.communicate()
        ended = until_alone(env)
        after = results(folder / "stopped")
        assert all(after.get(key) == moment for key, moment in before.items()), "what was done was done again"
        half = [p for p in (folder / "stopped").glob("jobs/[0-9a-f]*") if not (p / "record.json").is_file()]
        assert half == [], f"half results: {half}"
        print(f"stop {stop + 1}: {how.name}, {len(before)} -> {len(after)} jobs, alone after {ended:.1f} s", flush=True)
    before = results(folder / "stopped")
    assert finish(started(path, folder / "stopped", env)) in (0, 1)
    assert all(results(folder / "stopped")[key] == moment for key, moment in before.items())
    for form in FORMS:
        same = (folder / "whole" / form).read_bytes() == (folder / "stopped" / form).read_bytes()
        assert same, f"{form} differs from that of a sweep that was not stopped"
    print(f"the same {', '.join(FORMS)}; nothing was done twice that was done")


@contextmanager
def board(folder: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """A board behind sshd on loopback, and an environment in which ssh knows it."""
    from loopback_ssh import Board

    made = Board(folder / "board")
    home = folder / "bin"
    home.mkdir()
    for name in ("ssh", "scp"):  # the user's configuration is not ours to change
        real = shutil.which(name)
        (home / name).write_text(f'#!/bin/sh\nexec {real} -F {made.client} "$@"\n')
        (home / name).chmod(0o755)
    try:
        yield made.name, {"PATH": f"{home}{os.pathsep}{os.environ['PATH']}"}
    finally:
        made.close()


def timed(out: Path) -> list[tuple[str, str]]:
    """From when to when each measurement took, by the board's clock."""
    read = (json.loads(path.read_text()) for path in out.glob("jobs/*/benchmark.json"))
    return [(device["before"]["at"], device["after"]["at"]) for result in read for device in result["devices"]]


def check_apart(spans: list[tuple[str, str]]) -> None:
    """Says that no two overlap."""
    spans = sorted(spans)
    assert len(spans) > 1
    for one, other in itertools.pairwise(spans):
        assert one[1] <= other[0], f"{one} and {other} overlap"
    print(f"{len(spans)} measurements, none beside another: {', '.join(f'{a[11:19]}-{b[11:19]}' for a, b in spans)}")


def two(folder: Path, env: Mapping[str, str], harm: Callable[[subprocess.Popen[bytes], Path], None]) -> None:
    """Two sweeps at once in two folders, on one board."""
    networks(folder, 3)
    with board(folder) as (name, more):
        env = {**env, **more, "EDGECVX_CACHE": str(folder / "cache")}
        path = recipe(folder, 3, ["onnx"], DEVICE.format(name, sys.executable))
        for out in ("a", "b"):  # what is computed first, so that both come to the board at about the same time
            shutil.rmtree(folder / out, ignore_errors=True)
        first, second = started(path, folder / "a", env), started(path, folder / "b", env)
        harm(first, folder)
        finish(first)
        assert finish(second) in (0, 1)
        spans = [*timed(folder / "a"), *timed(folder / "b")]
        check_apart(spans)


def measuring(out: Path, folder: Path, process: subprocess.Popen[bytes]) -> bool:
    """Whether a sweep's process tree holds the board now."""
    lease = folder / "board" / "leases" / "edgecvx-lease"
    numbers = {process.pid, *(child.pid for child in psutil.Process(process.pid).children(recursive=True))}
    return lease.exists() and any(f"process {number})" in lease.read_text() for number in numbers)


def kill(process: subprocess.Popen[bytes], folder: Path) -> None:
    """Kills a host, and what it started on this machine to reach the board, while it holds the board."""
    while process.poll() is None:
        if measuring(folder / "a", folder, process):
            time.sleep(3)
            everything = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
            hosts = [p for p in everything if "python" in p.name()]
            for p in hosts:
                p.kill()
            print(f"killed the host that held the board ({len(hosts)} processes)")
            return
        time.sleep(0.05)


PARTS: Mapping[str, Callable[[Path, Mapping[str, str]], None]] = {
    "stopped": stopped,
    "board": lambda folder, env: two(folder, env, lambda *_: None),
    "killed": lambda folder, env: two(folder, env, kill),
}


def main(parts: list[str]) -> None:
    """Runs the parts that were named, or all."""
    for name in parts or PARTS:
        print(f"== {name}", flush=True)
        with tempfile.TemporaryDirectory(prefix="edgecvx-proof-") as folder:
            PARTS[name](Path(folder), {**os.environ, "EDGECVX_LEASES": str(Path(folder) / "leases")})


if __name__ == "__main__":
    main(sys.argv[1:])
