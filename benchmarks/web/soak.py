"""The page of a site for half an hour: does its memory stay, and are frames fresh?

A headless Chromium opens an exported site and starts its drawn camera. Every ten seconds the memory is noted after a
collection of garbage, so that what is seen is what is held, with the answers so far and the oldest frame of the last
minute, in inferences.

    edgecvx export femto --weights demo --target web --int8 --calib demo --out site
    python benchmarks/web/soak.py site --minutes 30
"""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass, fields
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from chromium import CAMERA, Browser, Tab
from site_server import serve

NOTING = b"""
const instantiate = WebAssembly.instantiate;
WebAssembly.instantiate = async (module, imports) => {
  const instance = await instantiate(module, imports);
  globalThis.noted = instance.exports.memory ?? imports.env.memory;
  return instance;
};
"""
"""Behind worker.js: what it made of WebAssembly can be asked for its size."""
LIMITS = {"page_heap_mb": 0.3, "worker_heap_mb": 0.3, "wasm_mb": 0.0, "processes_mb": 12.0}
"""By how much the median of the last sixth may exceed that of the second one. A heap holds some compiled code more or
less, and a process what its allocator keeps. Without a graphics processor Chromium caches pictures up to half a
gigabyte in its first minutes, which it gives back when memory is short; a frame of 640 x 480 is 1.2 MB, so one of a
hundred that is not given back would be seen beyond."""
STALE = 0.001
"""The part of all frames that may be older than two inferences when they are answered: on a machine that does other
things too, one inference takes half as long as the one before it."""


@dataclass(frozen=True)
class Look:
    """What was seen at one time; memory in megabytes."""

    minute: float
    page_heap_mb: float
    worker_heap_mb: float
    wasm_mb: float
    processes_mb: float
    answers: int
    stale: int
    oldest: float


def main() -> None:
    """Runs, notes, and says whether it is flat."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("site", type=Path, help="a folder that `edgecvx export --target web` wrote")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--every", type=float, default=10, metavar="SECONDS")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    looks = soak(options.site, minutes=options.minutes, every=options.every, threads=options.threads)
    print(verdict(looks))
    sys.exit(bool(grown(looks)))


def soak(site: Path, *, minutes: float, every: float, threads: int) -> list[Look]:
    """Everything that was noted while the page ran."""
    looks: list[Look] = []
    files = {path.relative_to(site).as_posix(): path.read_bytes() for path in site.rglob("*") if path.is_file()}
    files["worker.js"] += NOTING
    files["sw.js"] = b""  # the real one would refuse a changed file
    with serve(files) as url, tempfile.TemporaryDirectory() as folder, Browser(Path(folder), CAMERA) as browser:
        tab = started(browser, url, threads)
        begun = time.monotonic()
        print(" | ".join(field.name for field in fields(Look)))
        while (now := time.monotonic() - begun) < 60 * minutes:
            looks.append(look(browser, tab, now / 60))
            print(" | ".join(f"{value:g}" for value in astuple(looks[-1])), flush=True)
            time.sleep(max(0.0, every - (time.monotonic() - begun - now)))
        if tab.console:
            raise SystemExit(f"the page complained: {tab.console}")
    return looks


def started(browser: Browser, url: str, threads: int) -> Tab:
    """The page, as soon as it answers frames."""
    tab = browser.open("about:blank")
    tab.call("Target.setAutoAttach", autoAttach=True, waitForDebuggerOnStart=False, flatten=True)
    tab.call("Page.navigate", url=url)
    tab.wait("!!document.querySelector('#loaded div')")
    if threads > 1:
        tab.run(f"document.querySelector('#threads input[value=\"{threads}\"]').click()")
        tab.wait(f"document.querySelector('#loaded')?.innerText.includes('{threads} threads')")
    tab.run("document.querySelector('#veil').checkVisibility() && document.querySelector('[data-offer=start]').click()")
    tab.wait("Number(document.querySelector('.facts').dataset.answers) > 20")
    return tab


def look(browser: Browser, tab: Tab, minute: float) -> Look:
    """How things stand now."""
    wasm = [wasm_bytes(browser, worker) for worker in tab.workers]
    facts = tab.run("({...document.querySelector('.facts').dataset})")
    return Look(
        minute=round(minute, 2),
        page_heap_mb=heap_bytes(tab.call) / 1e6,
        worker_heap_mb=sum(heap_bytes(lambda method, w=worker: browser.call(method, w)) for worker in tab.workers)
        / 1e6,
        wasm_mb=max(wasm, default=0) / 1e6,  # threads share one memory
        processes_mb=processes_bytes() / 1e6,
        answers=int(facts["answers"]),
        stale=int(facts["stale"]),
        oldest=float(facts["oldest"]),
    )


def heap_bytes(call: Any) -> int:
    """What a heap of JavaScript holds when its garbage is gone."""
    call("HeapProfiler.collectGarbage")
    return int(call("Runtime.getHeapUsage")["usedSize"])


def wasm_bytes(browser: Browser, worker: str) -> int:
    """The memory of WebAssembly that a worker holds."""
    size = browser.call("Runtime.evaluate", worker, expression="globalThis.noted?.buffer.byteLength ?? 0")
    return int(size["result"]["value"])


def processes_bytes() -> int:
    """Memory that the browser's processes hold, what they share counted once.

    Without the pages of files, the program's own among them: another Chromium that starts meanwhile takes half of
    those upon itself, and a hundred megabytes seem to go, and to come back when it ends.
    """
    total = 0
    for process in psutil.Process().children(recursive=True):
        with suppress(OSError):  # it has just ended
            rollup = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
            total += sum(
                1024 * int(size) for size in re.findall(r"^Pss_(?:Anon|Shmem): +(\d+) kB", rollup, re.MULTILINE)
            )
    return total


def halves(looks: Sequence[Look], name: str) -> tuple[float, float]:
    """The medians of the second sixth, when all has arrived, and of the last."""
    last = looks[-1].minute
    early = [getattr(each, name) for each in looks if last / 6 <= each.minute <= last / 3]
    late = [getattr(each, name) for each in looks if each.minute >= last * 5 / 6]
    return statistics.median(early), statistics.median(late)


def grown(looks: Sequence[Look]) -> list[str]:
    """What has grown by more than it may, and whether a frame was stale."""
    found = [name for name, most in LIMITS.items() if halves(looks, name)[1] - halves(looks, name)[0] > most]
    return found + ["stale"] * (looks[-1].stale > STALE * looks[-1].answers)


def verdict(looks: Sequence[Look]) -> str:
    """The result in words and numbers."""
    rows = [f"| {name} | {early:.2f} | {late:.2f} |" for name in LIMITS for early, late in [halves(looks, name)]]
    last, found = looks[-1], grown(looks)
    oldest = max(each.oldest for each in looks)
    return "\n".join(
        [
            f"{last.answers} answers in {last.minute:.1f} minutes; {last.stale} were of frames older than two",
            f"inferences, the oldest {oldest:.2f}.",
            "",
            "| | second sixth | last sixth |",
            "|---|---|---|",
            *rows,
            "",
            f"Not flat: {', '.join(found)}." if found else "Flat.",
        ]
    )


if __name__ == "__main__":
    main()
