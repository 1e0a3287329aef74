"""Trains the demo weights on the drawn pictures, and writes them where the package ships them.

    python tools/train_demo.py atto
    python tools/train_demo.py femto

Stop it at any time; the same command goes on from the last checkpoint and ends with the same weights, to the bit on the
same machine. Nothing is random but the seeded start: the pictures come in the order of their index, each one once.

The first phases differ in how much of the scene is seen, not in how large the objects are in pixels: 112 pixels zoomed
in twice, then 160, then the full 224. Most of the learning so costs a quarter, and what was learned still fits. The
last phase brings the hard pictures.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional as F

from edgecvx.data.demo import CLASSES, Stream, picture
from edgecvx.data.preprocess import normalize
from edgecvx.errors import EdgecvxError
from edgecvx.models.convnext import ConvNeXt, GlobalResponseNorm
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import ArchSpec, PreprocessSpec, to_json

ROOT = Path(__file__).parents[1]
PREPROCESS = PreprocessSpec(size=224, crop_pct=1.0)
"""The pictures are drawn at the size the network takes, so nothing is cropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A stretch of training at one resolution."""

    size: int
    zoom: float
    batch: int
    steps: int
    trouble: float
    """The share of hard pictures."""
    lr: float
    end_lr: float
    """Where the learning rate falls to along half a cosine."""
    fall: int | None = None
    """In how many steps it would fall as far; None for ``steps``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides which weights come out."""

    arch: ArchSpec
    phases: tuple[Phase, ...]
    seed: int = 0
    warmup: int = 50
    weight_decay: float = 0.02
    grn_lr: tuple[tuple[int, float], ...] = ((0, 3.0), (700, 15.0), (800, 40.0))
    """From which step on GRN learns how much faster than the rest.

    It starts at zero and would hardly leave it in so few steps; but first there must be channels worth comparing.
    """
    bf16: bool = False
    """Mixed precision; faster where the processor multiplies in bfloat16, slower elsewhere."""

    @property
    def steps(self) -> int:
        """In all phases together."""
        return sum(phase.steps for phase in self.phases)

    def fingerprint(self) -> str:
        """Keeps a checkpoint from being continued under another recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()


PHASES = (
    Phase(size=112, zoom=2.0, batch=32, steps=1000, trouble=0.0, lr=1e-3, end_lr=5e-4, fall=1600),
    Phase(size=160, zoom=1.4, batch=32, steps=120, trouble=0.0, lr=5e-4, end_lr=3e-4),
    Phase(size=224, zoom=1.0, batch=32, steps=200, trouble=0.0, lr=3e-4, end_lr=0.0),
    Phase(size=224, zoom=1.0, batch=32, steps=240, trouble=0.6, lr=5e-4, end_lr=0.0),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """Where a step stands in the recipe: its phase, its learning rate, its first picture."""

    phase: Phase
    lr: float
    grn_lr: float
    first: int


def schedule(recipe: Recipe) -> Iterator[Step]:
    """Every step of the recipe, in order."""
    first = number = 0
    for phase in recipe.phases:
        for i in range(phase.steps):
            lr = phase.end_lr + (phase.lr - phase.end_lr) * 0.5 * (
                1 + math.cos(math.pi * i / (phase.fall or phase.steps))
            )
            lr *= min(1.0, (number + 1) / recipe.warmup)
            (*_, factor) = (factor for start, factor in recipe.grn_lr if start <= number)
            yield Step(phase=phase, lr=lr, grn_lr=lr * factor, first=first)
            first += phase.batch
            number += 1


def train(
    recipe: Recipe,
    run: Path,
    *,
    draw: Callable[[Step], tuple[Tensor, Tensor]] | None = None,
    classes: int = len(CLASSES),
    stop_after: int | None = None,
    save_every: int = 25,
) -> ConvNeXt:
    """Trains from the last checkpoint in ``run``, or from the start.

    Args:
        recipe: What to train.
        run: Where the checkpoint is kept.
        draw: The normalized pictures of a step and their labels; None for the drawn pictures.
        classes: How many there are.
        stop_after: Stops when this many steps are done, as if interrupted.
        save_every: Steps between checkpoints.

    Returns:
        The network as it is at the end.
    """
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / f"{recipe.arch.name}.ckpt"
    model = new_network(recipe, classes)
    spare_silent_channels(model)
    optimizer = _optimizer(model, recipe)
    done = _resume(checkpoint, recipe, model, optimizer)
    clock, drawn = time.monotonic(), 0
    for number, step in enumerate(schedule(recipe)):
        if number < done:
            continue
        if number == stop_after:
            break
        phase = step.phase
        images, labels = (draw or _draw_demo)(step)
        loss, right = _update(model, optimizer, images, labels, step, bf16=recipe.bf16)
        drawn += len(labels)
        if (number + 1) % save_every == 0 or number + 1 == recipe.steps:
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "done": number + 1}
            _save_atomically(checkpoint, {**state, "recipe": recipe.fingerprint()})
            speed = drawn / (time.monotonic() - clock)
            print(
                f"{time.strftime('%H:%M:%S')} step {number + 1}/{recipe.steps} {phase.size}px lr {step.lr:.2e} "
                f"loss {loss:.3f} right {right:.1%} grn {grn_strength(model):.3f} {speed:.1f} pictures/s",
                flush=True,
            )
            clock, drawn = time.monotonic(), 0
    return model.eval()


def new_network(recipe: Recipe, classes: int = len(CLASSES)) -> ConvNeXt:
    """The network before its first step.

    The usual start of ConvNeXt, a deviation of 0.02 everywhere, is made for hundreds of epochs. Here each layer keeps
    the size of its signal (Kaiming), which is what makes these short runs possible.
    """
    torch.manual_seed(recipe.seed)
    model = ConvNeXt(recipe.arch, classes)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = math.sqrt(2.0) if name.endswith("fc1") else 1.0
            nn.init.normal_(module.weight, std=gain / math.sqrt(module.weight[0].numel()))
            if module.bias is not None:
                nn.init.zeros_(module.bias)
    return model


def spare_silent_channels(model: ConvNeXt) -> None:
    """Makes GRN's gradient zero, not NaN, for a channel that is zero all over a picture.

    GELU is exactly zero from -6 down, and the root of GRN's norm has no slope at zero. With few pixels in the last
    stage it does happen, and one such channel would be the end of the run. No other gradient changes.
    """

    def spare(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        if inputs[0].requires_grad:
            inputs[0].register_hook(_zero_where_nan)  # type: ignore[no-untyped-call]

    for module in model.modules():
        if isinstance(module, GlobalResponseNorm):
            module.register_forward_pre_hook(spare)


def _zero_where_nan(gradient: Tensor) -> Tensor:
    return torch.where(gradient.isnan(), 0.0, gradient)


def _draw_demo(step: Step) -> tuple[Tensor, Tensor]:
    phase = step.phase
    return draw_batch("train", step.first, phase.batch, size=phase.size, zoom=phase.zoom, trouble=phase.trouble)


def draw_batch(stream: Stream, first: int, count: int, **options: Any) -> tuple[Tensor, Tensor]:
    """Pictures ``first`` to ``first + count`` of a stream, drawn with ``options``, normalized, with their labels."""
    drawn = (picture(index, stream=stream, **options) for index in range(first, first + count))
    pictures, labels = zip(*drawn, strict=True)
    images = torch.from_numpy(normalize(np.stack(pictures), PREPROCESS)).permute(0, 3, 1, 2)
    return images, torch.tensor(labels)


def accuracy(model: ConvNeXt, stream: Stream, first: int, count: int) -> float:
    """Top-1 at the full size."""
    right = 0
    with torch.inference_mode():
        for start in range(first, first + count, 50):
            images, labels = draw_batch(stream, start, min(50, first + count - start))
            right += int((model(images).argmax(1) == labels).sum())
    return right / count


def grn_strength(model: ConvNeXt) -> float:
    """Mean of ``|gamma|`` over every GRN: 0 at the start, and a GRN that stays there was never learned."""
    scales = [
        module.weight.detach().abs().mean() for module in model.modules() if isinstance(module, GlobalResponseNorm)
    ]
    return float(torch.stack(scales).mean()) if scales else 0.0


def export(model: ConvNeXt, recipe: Recipe, folder: Path, *, pictures: int) -> Path:
    """Rounds the weights to float16, measures *them*, and writes them with what there is to know about them."""
    rounded = {name: value.to(torch.float16).contiguous() for name, value in model.state_dict().items()}
    model.load_state_dict({name: value.float() for name, value in rounded.items()})
    facts = {
        "classes": json.dumps(CLASSES),
        "preprocess": json.dumps(to_json(PREPROCESS)),
        "license": "Apache-2.0",
        "seed": str(recipe.seed),
        "recipe": recipe.fingerprint(),
        "top1": f"{accuracy(model, 'validation', 0, pictures):.4f}",
        "top1_pictures": str(pictures),
        "grn_mean_abs_gamma": f"{grn_strength(model):.3f}",
    }
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{recipe.arch.name}.demo.safetensors"
    draft = file.with_suffix(".part")
    draft.write_bytes(with_sorted_header(save(rounded, metadata=facts)))
    draft.replace(file)
    print(f"{file.name}: {file.stat().st_size / 1e6:.1f} MB, {facts}", flush=True)
    return file


def with_sorted_header(content: bytes) -> bytes:
    """The same safetensors file with its header in order; the library writes metadata in a new order each time."""
    end = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + content[end:]


def _optimizer(model: ConvNeXt, recipe: Recipe) -> torch.optim.Optimizer:
    grn = {id(p) for module in model.modules() if isinstance(module, GlobalResponseNorm) for p in module.parameters()}
    weights = [p for p in model.parameters() if p.ndim >= 2]
    vectors = [p for p in model.parameters() if p.ndim < 2 and id(p) not in grn]
    groups: list[dict[str, Any]] = [
        {"params": weights, "weight_decay": recipe.weight_decay, "rate": "lr"},
        {"params": vectors, "weight_decay": 0.0, "rate": "lr"},
        {"params": [p for p in model.parameters() if id(p) in grn], "weight_decay": 0.0, "rate": "grn_lr"},
    ]
    return torch.optim.AdamW([group for group in groups if group["params"]], lr=1e-3)


def _update(
    model: ConvNeXt, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor, step: Step, *, bf16: bool
) -> tuple[float, float]:
    """One step of gradient descent; the loss before it, and how many of the pictures were right."""
    model.train()
    for group in optimizer.param_groups:
        group["lr"] = getattr(step, group["rate"])
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = model(images).float()
    loss = F.cross_entropy(logits, labels)
    optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    nn.utils.clip_grad_norm_(model.parameters(), 2.0)
    optimizer.step()
    return loss.item(), (logits.argmax(1) == labels).float().mean().item()


def _resume(checkpoint: Path, recipe: Recipe, model: ConvNeXt, optimizer: torch.optim.Optimizer) -> int:
    """Fills the network and the optimizer from a checkpoint; the number of steps it had done."""
    if not checkpoint.exists():
        return 0
    state = torch.load(checkpoint, weights_only=True)
    if state["recipe"] != recipe.fingerprint():
        raise EdgecvxError(f"{checkpoint.name} was made by another recipe; choose another --run folder")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    done: int = state["done"]
    return done


def _save_atomically(file: Path, state: dict[str, Any]) -> None:
    """A checkpoint is there whole or not at all."""
    draft = file.with_suffix(".part")
    with draft.open("wb") as stream:
        torch.save(state, stream)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(file)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Train the demo weights on the drawn pictures; resumes by itself.")
    parser.add_argument("variant", choices=("atto", "femto"))
    parser.add_argument("--run", type=Path, default=ROOT / "tools" / "run", help="where the checkpoint is kept")
    parser.add_argument("--assets", type=Path, default=ROOT / "edgecvx" / "assets", help="where the weights go")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--bf16", action="store_true", help="mixed precision, for processors that have it")
    parser.add_argument("--pictures", type=int, default=2400, help="validation pictures for the final accuracy")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = Recipe(arch=VARIANTS[f"convnextv2_{options.variant}"], phases=PHASES, bf16=options.bf16)
    options.run.mkdir(parents=True, exist_ok=True)
    pid = options.run / f"{options.variant}.pid"
    pid.write_text(f"{os.getpid()}\n")
    try:
        model = train(recipe, options.run)
        export(model, recipe, options.assets, pictures=options.pictures)
    finally:
        pid.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
