"""What each page takes for granted: pictures in class folders, a checkpoint, files that were exported before.

All of it is drawn and made here, as little as the page's own commands go well with. The birds of the pages are the 24
kinds of drawn pictures, which the demo weights know: a checkpoint of them is one that was trained.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from documented import ROOT
from PIL import Image

from edgecvx.data import demo
from edgecvx.models.load import demo_file

_NAMES = sorted(demo.CLASSES, key=lambda name: name.replace(" ", "_"))
"""The classes in the order of their folders, as whoever trains on folders has them."""

MOST, SIDE = 10_000, 224
"""Pictures in a folder, and how large they are; a test that shows little with less sets both lower."""

Make = Callable[[Path], None]
"""Puts something into the folder of a page."""


@dataclass(frozen=True, slots=True)
class Presupposed:
    """What a page needs."""

    make: tuple[Make, ...] = ()
    needs: tuple[str, ...] = ()
    """Programs, and stand-ins: ``board``, ``hub``, ``browser``."""


def pictures(name: str, count: int, stream: demo.Stream = "validation") -> Make:
    """A folder of drawn pictures, a sub-folder for each class."""

    def make(folder: Path) -> None:
        demo.write_folder(folder / name, stream=stream, count=min(count, MOST), size=SIDE)

    return make


def picture(name: str) -> Make:
    """One picture of a star, no square."""

    def make(folder: Path) -> None:
        pixels, _ = demo.picture(16, size=224)
        Image.fromarray(pixels[:, :200]).save(folder / name)

    return make


def checkpoint(name: str, variant: str = "atto") -> Make:
    """Trained weights, as somebody saved them who fine-tuned on class folders: the order of its classes is theirs."""

    def make(folder: Path) -> None:
        import torch
        from safetensors.torch import load_file

        tensors = load_file(str(demo_file(f"convnextv2_{variant}")))
        order = [demo.CLASSES.index(name) for name in _NAMES]
        for tensor in ("head.fc.weight", "head.fc.bias"):
            tensors[tensor] = tensors[tensor][order].contiguous()
        torch.save(tensors, folder / name)

    return make


def labels(name: str) -> Make:
    """A name for each class, a line each."""

    def make(folder: Path) -> None:
        (folder / name).write_text("\n".join(_NAMES))

    return make


def artifact(name: str, *, variant: str = "atto", to: str = ".") -> Make:
    """An artifact under the name that a page has for it; the target and the precision by that name."""
    suffix = next(suffix for suffix in _TARGETS if name.endswith(suffix))
    target = _TARGETS[suffix]
    precision = next((p for p in ("int8", "fp16") if p in name), "int8" if target in ("native", "web") else "fp32")
    stem = name.removesuffix(suffix)

    def make(folder: Path) -> None:
        made = _exported(variant, target, precision)
        (folder / to).mkdir(parents=True, exist_ok=True)
        (manifest,) = made.glob("*.edgecvx.json")
        old = manifest.name.removesuffix(f"{suffix}.edgecvx.json")
        for path in made.iterdir():
            if path.name.startswith(old):
                there = folder / to / path.name.replace(old, stem)
                content = path.read_bytes()
                # It and its manifest keep the names they were written under: this is as if written under these.
                there.write_bytes(content.replace(old.encode(), stem.encode()) if path.suffix == ".json" else content)

    return make


_TARGETS = {
    ".onnx": "onnx",
    ".tflite": "tflite",
    ".xml": "openvino",
    ".ecvx": "web",
}


@functools.cache
def _exported(variant: str, target: str, precision: str) -> Path:
    """The folder of an export, once for all pages of a run."""
    from edgecvx.pipeline import export

    folder = Path(tempfile.mkdtemp(prefix=f"{target}-{precision}-", dir=os.environ["DOCS_PROOF_MADE"]))
    how: dict[str, Any] = {"calib": "demo", "calib_samples": 32} if precision == "int8" else {}
    export(variant, weights="demo", target=target, precision=precision, out=folder, **how)
    return folder


def flowers(folder: Path) -> None:
    """A small fine-tuned network of transformers' and its image processor, as ``save_pretrained`` leaves them."""
    import torch
    from transformers import ConvNextImageProcessor, ConvNextV2Config, ConvNextV2ForImageClassification

    torch.manual_seed(0)
    names = dict(enumerate(_NAMES))
    config = ConvNextV2Config(
        depths=[1, 1, 2, 1], hidden_sizes=[16, 24, 32, 48], image_size=64, num_labels=len(names), id2label=names
    )
    network = ConvNextV2ForImageClassification(config)
    with torch.no_grad():
        for parameter in network.parameters():  # as they come, GRN's factors are 0 and no answer differs
            parameter.add_(0.1 * torch.randn_like(parameter))
    network.save_pretrained(folder / "my-flowers")
    ConvNextImageProcessor(size={"shortest_edge": 64}, crop_pct=1.0).save_pretrained(folder / "my-flowers")


def checkout(name: str = ".") -> Make:
    """The tracked files of this repository, and its environment."""

    def make(folder: Path) -> None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
        for file in filter(None, listed.stdout.split("\0")):
            if not (ROOT / file).is_file():
                continue
            there = folder / name / file
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / file, there)
            os.utime(there, (0, 0))  # older than the environment, so that make takes it as it is
        (folder / name / ".venv").symlink_to(sys.prefix)

    return make


def copied(*names: str) -> Make:
    """Files of the checkout, beside each other: the folder of an example."""

    def make(folder: Path) -> None:
        for name in names:
            shutil.copy(ROOT / name, folder)

    return make


def folder(name: str) -> Make:
    """An empty folder."""
    return lambda there: (there / name).mkdir(parents=True, exist_ok=True)


def repository(there: Path) -> None:
    """What ``git clone`` would have made: hooks can be put into it."""
    subprocess.run(["git", "init", "--quiet"], cwd=there, check=True)


def program(there: Path) -> None:
    """A program that asks for something of numpy."""
    (there / "program.py").write_text("import numpy\nprint(numpy.arange(4.0) @ numpy.arange(4.0))\n")


def sums(there: Path) -> None:
    """A release's list of hashes, and the file it is of."""
    file = there / "edgecvx-1.2.3-py3-none-any.whl"
    file.write_bytes(b"a wheel")
    (there / "SHA256SUMS").write_text(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n")


def recipe(there: Path) -> None:
    """``birds.toml``: one model, as small as a recipe can be that has everything."""
    (there / "birds.toml").write_text(
        'name = "birds"\ntargets = ["onnx"]\n[[models]]\nname = "atto"\nmodel = "atto"\nweights = "demo"\n'
        '[[data]]\nname = "drawn"\nlimit = 24\n[[devices]]\nname = "here"\ndevice = "local"\nthreads = [1]\nruns = 10\n'
    )


_BIRDS = (
    checkpoint("birds.pth"),
    labels("birds.txt"),
    pictures("birds/train", 32, "train"),
    pictures("birds/val", 1500),
)
_LIVE = ("browser",)

PRESUPPOSED: Mapping[str, Presupposed] = {
    "CONTRIBUTING.md": Presupposed((checkout(), repository, program), ("gcc",)),
    "README.md": Presupposed(
        (
            checkout(),
            pictures("photos", 32, "train"),
            checkpoint("my_finetuned_birds.pth"),
            labels("birds.txt"),
            pictures("birds/train", 32, "train"),
            pictures("birds/val", 640),
            picture("picture.jpg"),
            picture("a.jpg"),
            pictures("val", 96),
            pictures("train", 32, "train"),
            flowers,
            artifact("fp32.tflite"),
            artifact("int8.tflite"),
        ),
        ("board", "browser", "make"),
    ),
    "docs/checkpoints.md": Presupposed(_BIRDS),
    "docs/cluster.md": Presupposed(
        (checkout(), artifact("femto.tflite", to="build"), pictures("val", 640)), ("board", "bash")
    ),
    "docs/devices.md": Presupposed((artifact("model.tflite"), artifact("model.ecvx")), ("board", "browser")),
    "docs/int8.md": Presupposed(_BIRDS),
    "docs/latency.md": Presupposed(
        (
            artifact("femto-int8.tflite", variant="femto"),
            artifact("femto-fp32.tflite", variant="femto"),
            artifact("femto.tflite", variant="femto"),
            artifact("old.onnx"),
            artifact("new.onnx"),
        ),
        ("board",),
    ),
    "docs/native.md": Presupposed(),
    "docs/notebook.md": Presupposed((flowers, pictures("train", 64, "train"), pictures("val", 640), picture("a.jpg"))),
    "docs/onnx.md": Presupposed((artifact("model.onnx"),)),
    "docs/openvino.md": Presupposed((artifact("model.xml"),)),
    "docs/publishing.md": Presupposed(
        (
            checkpoint("femto.pth", "femto"),
            pictures("photos/train", 32, "train"),
            pictures("photos/val", 1000),
            recipe,
        ),
        ("board", "hub"),
    ),
    "docs/python.md": Presupposed((picture("a.jpg"), picture("b.png"), pictures("val", 48)), ("board",)),
    "docs/releasing.md": Presupposed((sums,), ("sha256sum",)),
    "docs/report.md": Presupposed(
        (artifact("a.onnx"), artifact("a.xml"), artifact("a.tflite"), pictures("photos", 640)), ("board",)
    ),
    "docs/sweep.md": Presupposed((checkout(),)),
    "docs/tensorrt.md": Presupposed((checkout(), pictures("photos", 32, "train"))),
    "docs/tune.md": Presupposed(
        (
            checkpoint("mine.pth"),
            checkpoint("old.pth"),
            checkpoint("new.pth", "femto"),
            pictures("birds/train", 64, "train"),
            pictures("birds/val", 480),
        ),
        ("board",),
    ),
    "docs/tutorial.md": Presupposed(),
    "docs/validation.md": Presupposed(_BIRDS),
    "docs/web.md": Presupposed((), ("browser",)),
    "apps/README.md": Presupposed(
        (artifact("model-int8.tflite"), artifact("model-fp32.tflite"), artifact("model-int8.ecvx")), _LIVE
    ),
    "apps/jetson/README.md": Presupposed((checkout("edgecvx"),), ("board", "rsync")),
    "apps/raspberry_pi/README.md": Presupposed((checkout("edgecvx"),), ("board", "rsync")),
    "examples/c/README.md": Presupposed((copied("examples/c/classify.c"), picture("picture.jpg")), ("cc", "rustc")),
    "examples/web/README.md": Presupposed((copied("examples/web/classify.js"),), ("browser",)),
}
"""Page -> what it needs; each page of which something is executed is here."""
