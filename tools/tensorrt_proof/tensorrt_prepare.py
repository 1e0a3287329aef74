"""The half of the proof that needs no GPU: everything TensorRT is to be held to, in one folder to copy to one.

    PYTHONPATH=tools python tools/tensorrt_proof/tensorrt_prepare.py --out build/tensorrt-proof
    # on Linux for x86-64 with an NVIDIA GPU, the folder copied there:
    python3 tensorrt-proof/tensorrt_run.py

It holds the files for TensorRT in FP32, FP16 and INT8, the native engine's INT8 file to be timed beside them, the
pictures as the network sees them, what FP32 PyTorch answers to each, and the package itself.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from release_proof import WHEEL, build
from tensorrt_files import LOGITS, PICTURES, PLAN, Plan, plan_text

import edgecvx
from edgecvx.accuracy.reference import Reference, rebuild
from edgecvx.data.dataset import DEMO, decoded, open_data
from edgecvx.errors import EdgecvxError, UsageError
from edgecvx.manifest import Manifest
from edgecvx.pipeline import Exported
from edgecvx.spec import Task

PLATFORM = "x86_64-linux"
COUNT = 2000
"""Pictures: enough that 1% of top-1 can be told from none."""
_BATCH = 8


def export_files(out: Path, model: str, image_size: int | None, calib_samples: int) -> list[Manifest]:
    """The files, those for TensorRT first; all of one checkpoint, the demo weights."""
    plain = functools.partial(edgecvx.export, model, weights="demo", image_size=image_size, out=out)
    made: list[Exported] = []
    for precision in ("fp32", "fp16"):
        made += plain(target="tensorrt", precision=precision).artifacts
    int8 = plain(
        target=["tensorrt", "native"], precision="int8", platforms=PLATFORM, calib_samples=calib_samples
    ).artifacts
    made += sorted(int8, key=lambda artifact: artifact.manifest.runtime != "tensorrt")
    return [artifact.manifest for artifact in made]


def answered(manifest: Manifest, count: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], list[int]]:
    """Drawn pictures as the network sees them, FP32 PyTorch's logits, and the labels."""
    labels = manifest.model.labels
    data = open_data(DEMO, num_classes=manifest.model.num_classes, labels=labels, limit=count)
    loaded = rebuild(manifest)
    with tempfile.TemporaryDirectory() as cache:
        reference = Reference(loaded, task=Task.CLASSIFY, cache=Path(cache), batch=_BATCH, threads=None)
        pixels, logits = [], []
        for samples, (batch,) in decoded(data.samples, [reference.preprocess], _BATCH, {}):
            pixels.append(batch)
            logits.append(reference.answer(samples, batch)[0])
        reference.close()
    return np.concatenate(pixels), np.concatenate(logits), [sample.label or 0 for sample in data.samples]


def prepare(
    out: Path, *, count: int = COUNT, model: str = "femto", image_size: int | None = None, calib_samples: int = 256
) -> Path:
    """Writes the folder, whole or not at all.

    Raises:
        UsageError: It is there already.
    """
    if out.exists():
        raise UsageError(f"{out} is there already: name another folder, or remove it")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        folder = Path(scratch) / out.name
        folder.mkdir()
        files = export_files(folder, model, image_size, calib_samples)
        pixels, logits, labels = answered(files[0], count)
        np.save(folder / PICTURES, pixels)
        np.save(folder / LOGITS, logits)
        plan = Plan(model=files[0].model.name, files=tuple(m.files[0].path for m in files), labels=tuple(labels))
        (folder / PLAN).write_text(plan_text(plan))
        build("edgecvx", folder, WHEEL)
        for script in sorted(Path(__file__).parent.glob("*.py")):
            if script != Path(__file__):
                shutil.copyfile(script, folder / script.name)
        folder.rename(out)
    return out


def main(words: Sequence[str] | None = None) -> int:
    """Prepares; says how large the folder is and what to do with it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="the folder to make")
    parser.add_argument("--pictures", type=int, default=COUNT, help=f"how many drawn pictures; {COUNT} by default")
    parser.add_argument("--model", default="femto", help="atto or femto")
    asked = parser.parse_args(words)
    try:
        folder = prepare(asked.out, count=asked.pictures, model=asked.model)
    except EdgecvxError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(json.dumps({"folder": str(folder), "megabytes": round(size / 1e6)}))
    print(f"copy it to a machine with an NVIDIA GPU, and there: python3 {folder.name}/tensorrt_run.py")
    return 0


if __name__ == "__main__":
    sys.exit(main())
