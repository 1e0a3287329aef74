"""The engine in a browser beside LiteRT.js and ONNX Runtime Web: one page, file by file in turn.

    benchmarks/setup.sh plain web             # once: the runtimes from npm, and what the usual export needs
    python benchmarks/web.py                  # femto with demo weights, 1 and 2 threads, into benchmarks/results/web.md
    python benchmarks/web.py --threads 1 --rounds 8 --out build/web.md
    python benchmarks/web.py --threads 1 --clock cpu         # where the machine is busy with something else

A server on loopback hands out everything, with the headers that let a page have threads; nothing comes from the
network. One headless Chromium has one page open, and in it every file in a worker of its own. In each round every
file runs in turn (A B C, then C B A), so what disturbs the machine disturbs all of them; a figure is the median over
rounds, and a ratio is taken round by round. All are warm: V8 compiles WebAssembly anew once it has run for a while.

What is timed is one picture's way from normalized floats in JavaScript to logits in JavaScript, copies included.
``--clock cpu`` counts the processor time of the browser's threads instead: for one thread the same on an idle machine,
and far steadier on a shared one. The kernel says it of a turn as a whole, so a turn is one figure.

Every file answers the same drawn pictures; one of ours that names another class than the engine ends the run.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import psutil
from compare import CLOSE_COSINE
from networks import Network, reference_logits, validation_pictures
from numpy.typing import NDArray
from paths import HERE, written
from web_files import PROBES, Entrant, Served, entrants, served
from web_table import CLOCKS, FOOT, HEAD, Raced, facts, size_table, sizes, table

sys.path.append(str(HERE.parent / "tests" / "support"))

from chromium import Browser, Tab
from site_server import TYPES, serve

UNCOUNTED = 1
"""Runs of a turn that are not timed, before those that are."""
WARM = 30
"""Runs of each entrant before anything counts, in turns: its code is compiled in the background meanwhile."""


def main(arguments: Sequence[str] | None = None) -> int:
    options = parsed(arguments)
    network = Network(variant=options.variant, weights="demo")
    load_before = os.getloadavg()[0]
    tables: list[str] = []
    loads: dict[str, tuple[int, int]] = {}
    for threads in options.threads:
        racing = entrants(network, threads)
        files = served(network, racing)
        with page(files) as tab:
            raced = race(tab, files, racing, threads, options, reference(network))
            browser = str(tab.run("navigator.userAgent"))
        check(raced)
        tables += table(raced, threads)
        print(*table(raced, threads), sep="\n", flush=True)
        loads |= sizes(raced, files)
    about = facts(options, browser, load_before)
    again = ["python benchmarks/web.py " + " ".join(sys.argv[1:]), "```"]
    with written(options.out) as temporary:
        temporary.write_text("\n".join([HEAD, *about, *tables, *size_table(loads), FOOT, *again]) + "\n")
    print(f"written: {options.out}")
    return 0


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", choices=("atto", "femto"), default="femto", help="those with demo weights")
    parser.add_argument("--threads", nargs="+", type=int, default=(1, 2))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--runs", type=int, default=5, help="of each file in a round")
    parser.add_argument("--clock", choices=tuple(CLOCKS), default="wall")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "web.md")
    options = parser.parse_args(arguments)
    if options.clock == "cpu" and max(options.threads) > 1:
        parser.error("--clock cpu goes with --threads 1: what several threads take is no time that anybody waits")
    return options


@contextmanager
def page(files: Served) -> Iterator[Tab]:
    """The race's page, open in a browser of its own."""
    types = {**TYPES, "mjs": TYPES["js"]}
    with (
        serve(files, types=types) as url,
        tempfile.TemporaryDirectory() as folder,
        Browser(Path(folder)) as browser,
    ):
        tab = browser.open(url)
        tab.wait("globalThis.race && crossOriginIsolated")
        yield tab


def race(
    tab: Tab,
    files: Served,
    racing: Sequence[Entrant],
    threads: int,
    options: argparse.Namespace,
    expected: NDArray[np.float32],
) -> list[Raced]:
    """Opens all entrants, lets them answer, warms them, and runs every one in turn, in reversed order next time."""
    loaded, logits = [], []
    for entrant in racing:
        files.asked.clear()
        call(tab, "open", entrant.name, wanted(entrant, threads))
        loaded.append(tuple(dict.fromkeys(files.asked)))
        logits.append(np.array(call(tab, "answers", entrant.name), np.float32))
    for entrant in (*racing, *reversed(racing)):
        call(tab, "turn", entrant.name, WARM // 2)
    rounds: list[dict[int, list[float]]] = [{} for _ in racing]
    for number in range(options.rounds):
        order = list(enumerate(racing))
        for i, entrant in order if number % 2 == 0 else reversed(order):
            rounds[i][number] = turn(tab, entrant, options)
    return [
        Raced(entrant=e, loaded=names, logits=answers, reference=expected, rounds=times)
        for e, names, answers, times in zip(racing, loaded, logits, rounds, strict=True)
    ]


def turn(tab: Tab, entrant: Entrant, options: argparse.Namespace) -> list[float]:
    """Milliseconds of each run; by the processor's clock one figure for all of them."""
    before = worked()
    times = call(tab, "turn", entrant.name, options.runs)
    return times if options.clock == "wall" else [(worked() - before) / (options.runs + UNCOUNTED)]


def worked() -> float:
    """Milliseconds of a processor that the threads of the browser's pages took so far."""
    children = psutil.Process().children(recursive=True)
    pages = [child.pid for child in children if "--type=renderer" in child.cmdline()]
    tasks = (task for page in pages for task in Path(f"/proc/{page}/task").iterdir())
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def wanted(entrant: Entrant, threads: int) -> dict[str, object]:
    """What the page is told of an entrant."""
    return {
        "runtime": entrant.runtime,
        "file": f"/files/{entrant.name}",
        "layout": entrant.layout,
        "threads": threads,
        "build": entrant.build,
    }


def call(tab: Tab, method: str, *arguments: object) -> list[float]:
    found: list[float] = tab.run(f"race.{method}({', '.join(map(json.dumps, arguments))})")
    return found


def reference(network: Network) -> NDArray[np.float32]:
    return reference_logits(network, validation_pictures(PROBES)[0])


def check(raced: Sequence[Raced]) -> None:
    """Ends the run where a file of ours computes another function, however fast."""
    classes = raced[0].logits.argmax(axis=1)
    for r in raced:
        if r.entrant.ours and (r.cosine < CLOSE_COSINE or (r.logits.argmax(axis=1) != classes).any()):
            raise SystemExit(f"{r.entrant.name} computes something else: cosine {r.cosine:.4f}")


if __name__ == "__main__":
    sys.exit(main())
