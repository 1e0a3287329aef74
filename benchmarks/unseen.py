"""Trains a network nobody tuned a quantizer to, on pictures nobody drew for it: the letters of ``glyphs.py``.

    PYTHONPATH=tools python benchmarks/unseen.py atto       # half an hour on one core; on Debian, root or not
    PYTHONPATH=tools python benchmarks/unseen.py femto

Everything goes to ``benchmarks/out/unseen``: the fonts; ``calib/`` and ``val/``, pictures in a folder per class; and
for each variant ``glyphs.safetensors`` in float32, with a ``config.json`` that tells how it wants its pictures. Stop it
at any time; the same command goes on from the last checkpoint. The recipe is that of ``tools/train_demo.py`` but for
the pictures, the phases and the weight decay.

What INT8 costs this network says more than what it costs the demo weights, since every choice of the quantizer was made
with those in sight. For it to stay so, nothing may be chosen by what comes out here.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from glyphs import CLASSES, Fonts, Stream, fetch_fonts, picture, read_fonts, write_folder
from paths import OUT, written
from safetensors.torch import save
from torch import Tensor
from train_demo import Phase, Recipe, Step, grn_strength, train, with_sorted_header

from edgecvx.data.preprocess import normalize
from edgecvx.models.convnext import ConvNeXt
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import PreprocessSpec

PREPROCESS = PreprocessSpec(size=128, crop_pct=1.0)
"""ImageNet's mean and deviation; the pictures are drawn at the size the network takes, so nothing is cropped."""
FOLDERS: tuple[tuple[str, Stream, int], ...] = (("calib", "calibration", 256), ("val", "validation", 1000))

PHASES = (
    Phase(size=64, zoom=1.4, batch=16, steps=700, trouble=0.0, lr=1.5e-3, end_lr=1.5e-3),
    Phase(size=64, zoom=1.4, batch=16, steps=500, trouble=0.35, lr=1.5e-3, end_lr=1.4e-3),
    Phase(size=64, zoom=1.4, batch=16, steps=500, trouble=0.7, lr=1.4e-3, end_lr=1.3e-3),
    Phase(size=96, zoom=1.2, batch=16, steps=1200, trouble=1.0, lr=1.3e-3, end_lr=8e-4),
    Phase(size=128, zoom=1.0, batch=16, steps=1000, trouble=1.0, lr=8e-4, end_lr=0.0),
)
"""Small and easy first: a network that meets all the trouble at once still guesses after 500 steps."""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("variant", choices=("atto", "femto"))
    parser.add_argument("--out", type=Path, default=OUT / "unseen")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    fetch_fonts(options.out / "fonts")
    fonts = read_fonts(options.out / "fonts")
    for name, stream, count in FOLDERS:
        _write_pictures(fonts, options.out / name, stream, count)

    arch = VARIANTS[f"convnextv2_{options.variant}"]
    recipe = Recipe(arch=arch, phases=PHASES, warmup=100, weight_decay=0.05, grn_lr=((0, 3.0), (700, 15.0)))
    folder, start = options.out / options.variant, time.monotonic()
    model = train(recipe, folder, draw=lambda step: _lesson(fonts, step), classes=len(CLASSES))
    print(f"trained in {(time.monotonic() - start) / 60:.1f} minutes", flush=True)
    facts = {
        "recipe": recipe.fingerprint(),
        "fonts": fonts.sha256,
        "top1": f"{_accuracy(model, fonts, 'validation', 1000):.4f}",
        "top1_known_typefaces": f"{_accuracy(model, fonts, 'calibration', 1000):.4f}",
        "top1_pictures": "1000",
        "grn_mean_abs_gamma": f"{grn_strength(model):.3f}",
    }
    _write_weights(model, folder, facts)
    print(f"{folder / 'glyphs.safetensors'}: {facts}")


def _write_pictures(fonts: Fonts, folder: Path, stream: Stream, count: int) -> None:
    """The folder is there whole or not at all."""
    if folder.exists():
        return
    with tempfile.TemporaryDirectory(dir=folder.parent) as draft:
        write_folder(fonts, Path(draft) / folder.name, stream=stream, count=count, size=PREPROCESS.size)
        (Path(draft) / folder.name).rename(folder)


def _lesson(fonts: Fonts, step: Step) -> tuple[Tensor, Tensor]:
    phase = step.phase
    options = {"size": phase.size, "zoom": phase.zoom, "trouble": phase.trouble}
    return _batch(fonts, range(step.first, step.first + phase.batch), "train", **options)


def _batch(fonts: Fonts, indices: Iterable[int], stream: Stream, **options: Any) -> tuple[Tensor, Tensor]:
    """Pictures as the network takes them, and their labels."""
    pictures, labels = zip(*(picture(fonts, index, stream=stream, **options) for index in indices), strict=True)
    images = torch.from_numpy(normalize(np.stack(pictures), replace(PREPROCESS, size=pictures[0].shape[0])))
    return images.permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def _accuracy(model: ConvNeXt, fonts: Fonts, stream: Stream, count: int) -> float:
    """Top-1 on the first pictures of a stream, which are those of its folder."""
    right = 0
    with torch.inference_mode():
        for start in range(0, count, 50):
            images, labels = _batch(fonts, range(start, min(start + 50, count)), stream)
            right += int((model(images).argmax(1) == labels).sum())
    return right / count


def _write_weights(model: ConvNeXt, folder: Path, facts: dict[str, str]) -> None:
    """The weights in timm's names, and beside them, as timm does, what they were trained on."""
    shape = {"input_size": [3, PREPROCESS.size, PREPROCESS.size], "crop_pct": PREPROCESS.crop_pct}
    colours = {"mean": PREPROCESS.mean, "std": PREPROCESS.std, "interpolation": PREPROCESS.interpolation}
    config = {
        "architecture": model.arch.name,
        "num_classes": len(CLASSES),
        "label_names": CLASSES,
        "pretrained_cfg": {**shape, **colours},
    }
    with written(folder / "config.json") as file:
        file.write_text(json.dumps(config, indent=2) + "\n")
    tensors = {name: value.float().contiguous() for name, value in model.state_dict().items()}
    with written(folder / "glyphs.safetensors") as file:
        file.write_bytes(with_sorted_header(save(tensors, metadata=facts)))


if __name__ == "__main__":
    main()
