"""The engine in a browser against the engine here: answers to drawn pictures, and how both prepare any picture.

    python benchmarks/web_answers.py                    # femto, 300 pictures, into benchmarks/results/web-answers.md
    python benchmarks/web_answers.py --variant atto --pictures 1000 --out build/web-answers.md

A headless Chromium loads a site with the public module, which proves the model before it answers. Pictures travel as
files, so decoding, EXIF, resizing and normalizing are the browser's and the engine's own; here Pillow does all of it.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from networks import Network, range_error
from numpy.typing import NDArray
from paths import HERE, written
from PIL import Image
from web_files import our_files
from web_pictures import odd_pictures

import edgecvx
from edgecvx.board.device.processors import this_processor
from edgecvx.data import demo
from edgecvx.data.preprocess import prepare
from edgecvx.proof.metrics import row_cosines
from edgecvx.runtimes.artifact import Artifact

sys.path.extend(str(HERE.parent / "tests" / folder) for folder in ("support", "samples"))

from chromium import Browser, Tab
from site_server import serve
from web_sites import site_of

SIDES = (224, 256, 187, 300)
"""Of the drawn pictures, in turn: most are resized on the way."""
PAGE = """
globalThis.blob = async (name) => {
  const response = await fetch(`pictures/${name}`);
  if (!response.ok) throw new Error(`${name}: ${response.status}`);
  return response.blob();
};
globalThis.answer = async (name) => Array.from((await model.classify(await blob(name))).logits);
globalThis.compare = async (name) => {
  const found = (await model.preprocess(await blob(name))).input;
  const expected = new Float32Array(await (await blob(`${name}.input`)).arrayBuffer());
  if (found.length !== expected.length) throw new Error(`${name}: ${found.length} numbers`);
  const differences = found.map((value, i) => Math.abs(value - expected[i]));
  return [differences.filter((value) => value !== 0).length, differences.reduce((a, b) => Math.max(a, b))];
};
import("./edgecvx.js").then(async ({ load }) => {
  globalThis.model = await load("./");
  return model.info.kernels;
})
"""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--variant", choices=("atto", "femto"), default="femto", help="those with demo weights")
    parser.add_argument("--pictures", type=int, default=300)
    parser.add_argument("--out", type=Path, default=HERE / "results" / "web-answers.md")
    options = parser.parse_args(arguments)
    path = our_files(Network(variant=options.variant, weights="demo"))["int8", "native"]
    with edgecvx.load(path) as native, tempfile.TemporaryDirectory() as folder:
        drawn, odd = dict(drawn_pictures(options.pictures)), dict(odd_pictures())
        files = site_of(path) | {f"pictures/{name}": content for name, content in {**drawn, **odd}.items()}
        files |= {f"pictures/{name}.input": prepared(native, content) for name, content in odd.items()}
        with serve(files) as url, Browser(Path(folder)) as browser:
            tab = browser.open(url)
            kernels = str(tab.run(PAGE))
            rows = [answers_row(tab, native, drawn, options.variant, kernels)]
            others = [picture_row(tab, name, native) for name in odd]
            agent = tab.run("navigator.userAgent")
    text = "\n".join([HEAD.format(browser=agent, here=this_processor().kind), *ANSWERS, *rows, "", *PICTURES, *others])
    print(text)
    with written(options.out) as temporary:
        temporary.write_text(text + "\n")
    return 0


def drawn_pictures(count: int) -> Iterator[tuple[str, bytes]]:
    """File name -> PNG."""
    for index in range(count):
        pixels, _ = demo.picture(index, size=SIDES[index % len(SIDES)])
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "PNG")
        yield f"{index}.png", buffer.getvalue()


def prepared(native: Artifact, content: bytes) -> bytes:
    """A picture as the model takes it, by Pillow."""
    return prepare(content, native.manifest.model.preprocess, native.manifest.input).tobytes()


def answers_row(tab: Tab, native: Artifact, drawn: dict[str, bytes], variant: str, kernels: str) -> str:
    """What both answer to all drawn pictures."""
    there = np.array([tab.run(f"answer({json.dumps(name)})") for name in drawn], np.float32)
    here: NDArray[Any] = native.run_pictures(list(drawn.values()))["logits"]
    same = int((here.argmax(axis=1) == there.argmax(axis=1)).sum())
    cosine, error = float(row_cosines(there, here).min()), range_error(there, here)
    return f"| {variant}, INT8 | {kernels} | {len(drawn)} | {same} | {cosine:.6f} | {error:.1e} |"


def picture_row(tab: Tab, name: str, native: Artifact) -> str:
    """How far one prepared picture is from Pillow's."""
    count, largest = tab.run(f"compare({json.dumps(name)})")
    levels = float(largest) * max(native.manifest.model.preprocess.std) * 255
    told = "to the bit" if not count else f"{count} of {3 * 224 * 224} numbers, by {levels:.1f} levels of 255 at most"
    return f"| {name} | {told} |"


HEAD = """\
# The engine in a browser against the engine here

`python benchmarks/web_answers.py`; there {browser}, here Pillow and the engine on a processor of class {here}.
"""
ANSWERS = (
    "| file | kernels there | pictures | same first class | least cosine | largest difference, of the logits' range |",
    "|---|---|--:|--:|--:|--:|",
)
PICTURES = ("| picture | decoded, resized, cropped and normalized there: equal to Pillow |", "|---|---|")


if __name__ == "__main__":
    sys.exit(main())
