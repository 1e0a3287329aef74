"""What every file of a comparison starts from: a transformers folder, the drawn pictures, and PyTorch's answers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from paths import OUT, written
from rivals import run_in

from edgecvx.data import demo
from edgecvx.data.preprocess import normalize
from edgecvx.models.load import demo_file, demo_variants, load_model
from edgecvx.runtimes.torch import TorchSession
from edgecvx.spec import PreprocessSpec

Weights = Literal["random", "demo", "scaled"]
VARIANTS = ("atto", "femto", "pico", "nano")
SIZE = 224


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """One network that all tools are given."""

    variant: str
    weights: Weights
    """``scaled`` is ``demo`` with badly scaled channels and the same function; see ``others/scale_channels.py``."""

    @property
    def name(self) -> str:
        """Of its folder, and of every file made from it."""
        return f"convnextv2_{self.variant}" + {"random": "", "demo": "_demo", "scaled": "_demo_scaled"}[self.weights]

    @property
    def calibration_count(self) -> int:
        """Pictures that calibrate every tool alike; random weights know no pictures, there a few are enough."""
        return 16 if self.weights == "random" else 128

    def folder(self) -> Path:
        """The transformers folder, made when it is not there yet."""
        folder = OUT / "networks" / self.name
        if (folder / "preprocessor_config.json").exists():  # the last file written
            return folder
        folder.mkdir(parents=True, exist_ok=True)
        if self.weights == "scaled":
            plain = Network(variant=self.variant, weights="demo").folder()
            run_in("plain", "scale_channels.py", plain, folder)
        else:
            run_in("plain", "make_network.py", self.variant, folder, *self._checkpoint())
        return folder

    def _checkpoint(self) -> tuple[Path, ...]:
        if self.weights == "random":
            return ()
        return (demo_file(f"convnextv2_{self.variant}"),)


def network_for(variant: str, precision: str) -> Network:
    """Trained weights for INT8 where there are any, because scales come from what a network sees; else random ones."""
    trained = precision != "fp32" and f"convnextv2_{variant}" in demo_variants()
    return Network(variant=variant, weights="demo" if trained else "random")


def calibration_pictures(count: int) -> Path:
    """The pictures every tool is calibrated with, as a ``.npy`` of bytes that needs no package of ours to read."""
    return _drawn("calibration", count)[0]


def validation_pictures(count: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Pictures no tool has seen, ``[N, 224, 224, 3]``, and their labels."""
    path, labels = _drawn("validation", count)
    return np.load(path, mmap_mode="r"), labels


def reference_logits(network: Network, pictures: NDArray[np.uint8]) -> NDArray[np.float32]:
    """What FP32 PyTorch answers, kept from one call to the next."""
    path = OUT / "reference" / f"{network.name}-{len(pictures)}.npy"
    if not path.exists():
        session = TorchSession(load_model(network.folder()).module)
        rows = [session.run(image)["logits"] for image in images(pictures)]
        with written(path) as temporary:
            np.save(temporary, np.concatenate(rows))
    return np.asarray(np.load(path))


def images(pictures: NDArray[np.uint8]) -> Iterator[NDArray[np.float32]]:
    """One picture after the other as the networks take them: ``[1, 3, 224, 224]``, ImageNet's mean and deviation."""
    for pixels in pictures:
        yield np.ascontiguousarray(normalize(pixels[None], PreprocessSpec()).transpose(0, 3, 1, 2))


def _drawn(stream: demo.Stream, count: int) -> tuple[Path, NDArray[np.int64]]:
    path = OUT / "pictures" / f"{stream}-{count}.npy"
    labels = np.arange(count) % len(demo.CLASSES)
    if not path.exists():
        drawn = [demo.picture(index, stream=stream, size=SIZE) for index in range(count)]
        if any(label != expected for (_, label), expected in zip(drawn, labels, strict=True)):
            raise SystemExit("the drawn pictures are no longer labelled in turn")
        with written(path) as temporary:
            np.save(temporary, np.stack([pixels for pixels, _ in drawn]))
    return path, labels


def range_error(logits: NDArray[Any], reference: NDArray[Any]) -> float:
    """The largest difference, as a part of the range of what PyTorch answers."""
    return float(np.abs(logits - reference).max() / np.ptp(reference))
