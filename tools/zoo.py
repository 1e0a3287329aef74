r"""A zoo of hard checkpoints: the demo networks with what training at scale leaves in weights, planted on purpose.

    python tools/zoo.py --out zoo                            # every member, femto and atto, one folder each
    python tools/zoo.py --out zoo --variants atto --members raised-s3-1000 all

The demo weights were trained on drawn pictures for an hour, and one grid per tensor holds whatever they compute.
Weights that learned for weeks have residual channels that are a thousand times the others, single pixels that are, GRN
scales and depthwise kernels of very different sizes, layer scale. A member is a recipe: seeded, made anew in seconds,
and the same bytes on the same machine.

**What was planted is taken back, so that the network still knows its classes.** A block's input or kernels differ from
the original's after a change; its two products are then fitted again, block by block, by least squares on what the
original computes for the same drawn pictures (``_refit``: the smallest change of the weights that does it). What cannot
be taken back exactly is small, and does not matter here: an INT8 file is held to the FP32 answers of *its* checkpoint.

======================  ============================================================================================
raised-sN-M             channels of the residual of stage N raised by M from its downsample to its last block. Their
                        depthwise kernels keep the middle tap, so that the constant can be taken back in the bias at the
                        border too; four channels in stage 2, one in stage 3
spike-N                 one pixel in N of stage 2 gets 1000 in one channel, from a hidden unit that fires there alone
grn                     GRN's gamma of 1% of the channels times 8
kernels                 depthwise kernels with log-normal norms (sigma 1.5), 5% of them near zero
all                     raised by 1000 in both stages, one spike in 1000, ``grn`` and ``kernels``
v1                      the network without GRN, with layer scale of log-normal size
rescaled                exactly the same function: powers of two between LayerNorm and fc1 and downsample, and one for
                        all kernels of a depthwise
======================  ============================================================================================
"""

from __future__ import annotations

import argparse
import copy
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn
from train_demo import PREPROCESS, with_sorted_header

from edgecvx.data.demo import CLASSES, picture
from edgecvx.data.preprocess import normalize
from edgecvx.models.convnext import Block, ConvNeXt, LayerNorm2d, Stage, activate
from edgecvx.models.load import load_model
from edgecvx.models.variants import VARIANTS
from edgecvx.spec import to_json

PICTURES = 48
"""Drawn pictures on which a block is fitted again."""
ROWS = 9408
"""Pixels of a fit, at most: all that 48 pictures have in stage 2."""
RIDGE = 1e-4
"""Of the mean square of a layer's input: how much a change of the weights costs beside the error it takes away."""
FIRING = 100.0
"""What the hidden unit of a spike gives where it fires."""
SIZE = PREPROCESS.size


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One recipe."""

    name: str
    raised: Mapping[int, tuple[int, float]] = field(default_factory=dict)
    """Stage -> how many channels are raised, and by how much."""
    spike: int | None = None
    """One pixel in that many."""
    grn: bool = False
    kernels: bool = False
    rescaled: bool = False
    v1: bool = False


MEMBERS: Mapping[str, Member] = {
    member.name: member
    for member in (
        Member(name="plain"),
        *(Member(name=f"raised-s2-{m}", raised={2: (4, float(m))}) for m in (100, 300, 1000)),
        *(Member(name=f"raised-s3-{m}", raised={3: (1, float(m))}) for m in (100, 300, 1000)),
        Member(name="spike-1000", spike=1000),
        Member(name="spike-10000", spike=10000),
        Member(name="grn", grn=True),
        Member(name="kernels", kernels=True),
        Member(name="all", raised={2: (4, 1000.0), 3: (1, 1000.0)}, spike=1000, grn=True, kernels=True),
        Member(name="v1", v1=True),
        Member(name="rescaled", rescaled=True),
    )
}
"""By name."""


def plant(variant: str, member: Member, *, size: int = SIZE, pictures: int = PICTURES, seed: int = 0) -> ConvNeXt:
    """The network of a recipe, float32, ready to be exported.

    Args:
        variant: ``atto`` or ``femto``, whose demo weights are changed.
        member: What to plant.
        size: Of the pictures on which blocks are fitted again.
        pictures: How many of them.
        seed: Decides which channels, kernels and pixels are chosen.
    """
    old = load_model(variant, weights="demo").module
    new = _without_grn(old) if member.v1 else copy.deepcopy(old)
    draw = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        if member.rescaled:
            _rescale(new, draw)
        elif member != Member(name=member.name):
            _Planter(member, draw).walk(old, new, _drawn(pictures, size))
        if member.v1:
            _scale_layers(new, draw)
    return new.eval()


class _Planter:
    """Goes through two networks side by side, the original and the one that is changed, a block at a time."""

    def __init__(self, member: Member, draw: torch.Generator) -> None:
        self._member, self._draw = member, draw

    def walk(self, old: ConvNeXt, new: ConvNeXt, images: Tensor) -> None:
        """Changes ``new`` in place."""
        a = b = old.stem(images)
        for index, (original, stage) in enumerate(zip(_stages(old), _stages(new), strict=True)):
            if original.downsample is not None and stage.downsample is not None:
                a, b = original.downsample(a), stage.downsample(b)
            raised = self._raise(index, stage)
            b = b + raised
            constant = raised
            spiked: int | None = None
            for number, (theirs, ours) in enumerate(zip(_blocks(original), _blocks(stage), strict=True)):
                held = [int(c) for c in torch.nonzero(constant.flatten())] + ([] if spiked is None else [spiked])
                _keep_middle_tap(ours, held, constant)
                if self._member.kernels:
                    self._uneven_kernels(ours)
                fits = bool(held) or self._member.kernels
                if fits:
                    _refit(ours.mlp.fc1, ours.norm(ours.conv_dw(b)), theirs.mlp.fc1(theirs.norm(theirs.conv_dw(a))))
                if self._member.spike and index == 2 and number == 0:
                    spiked = self._spike(ours, ours.norm(ours.conv_dw(b)), held)
                if self._member.grn:
                    self._loud_channels(ours, b)
                hidden = _hidden(ours, b)
                wanted = theirs.mlp(theirs.norm(theirs.conv_dw(a)))
                if self._member.grn or self._member.v1:
                    _refit(ours.mlp.fc2, hidden, wanted)
                if number == len(stage.blocks) - 1 and raised.any():
                    _bias(ours.mlp.fc2).sub_(raised.flatten())
                a, b = a + wanted, b + ours.mlp.fc2(hidden)

    def _raise(self, index: int, stage: Stage) -> Tensor:
        """What the downsample adds to each channel from now on, ``[1, C, 1, 1]``."""
        count, by = self._member.raised.get(index, (0, 0.0))
        if stage.downsample is None:
            return torch.zeros(1)
        bias = _bias(stage.downsample[1])
        raised = torch.zeros_like(bias)
        raised[_least_read(stage)[:count]] = by
        bias += raised
        return raised.view(1, -1, 1, 1)

    def _uneven_kernels(self, block: Block) -> None:
        conv, fc1 = block.conv_dw, block.mlp.fc1
        factors = torch.exp(1.5 * torch.randn(len(conv.weight), generator=self._draw))
        factors[torch.randperm(len(factors), generator=self._draw)[: round(0.05 * len(factors))]] = 1e-3
        conv.weight *= factors.view(-1, 1, 1, 1)
        _bias(conv).mul_(factors)
        fc1.weight /= factors.clamp(min=0.05).view(1, -1, 1, 1)

    def _spike(self, block: Block, inputs: Tensor, taken: Sequence[int]) -> int:
        """Makes the least used hidden unit fire in few pixels, and write into one channel; returns that channel."""
        fc1, fc2, rate = block.mlp.fc1, block.mlp.fc2, 1.0 / (self._member.spike or 1)
        unit = int(fc2.weight.flatten(1).norm(dim=0).argmin())
        direction = torch.randn(inputs.shape[1], generator=self._draw)
        along = torch.einsum("bchw,c->bhw", inputs, direction).flatten()
        threshold = float(np.quantile(along.numpy(), 1.0 - rate))
        steep = FIRING / (0.5 * float(along.std()))
        fc1.weight[unit, :, 0, 0] = steep * direction
        _bias(fc1)[unit] = -steep * threshold
        if block.mlp.grn is not None:
            block.mlp.grn.weight[unit] = 0.0
        channel = next(c for c in map(int, fc2.weight.flatten(1).norm(dim=1).argsort()) if c not in taken)
        fc2.weight[:, unit] = 0.0
        fc2.weight[channel, unit] = 1000.0 / FIRING
        return channel

    def _loud_channels(self, block: Block, x: Tensor) -> None:
        grn = block.mlp.grn
        if grn is None:
            return
        loud = torch.randperm(len(grn.weight), generator=self._draw)[: max(1, round(0.01 * len(grn.weight)))]
        before = _hidden(block, x).square().mean(dim=(0, 2, 3))
        grn.weight[loud] *= 8.0
        after = _hidden(block, x).square().mean(dim=(0, 2, 3))
        block.mlp.fc2.weight *= (before / after.clamp(min=1e-12)).sqrt().view(1, -1, 1, 1)


def _keep_middle_tap(block: Block, channels: Sequence[int], constant: Tensor) -> None:
    """Leaves one tap of some kernels, and takes the constant back behind it, which holds at the border too."""
    conv = block.conv_dw
    middle = conv.weight.shape[-1] // 2
    for channel in channels:
        tap = float(conv.weight[channel].sum())
        tap = math.copysign(max(abs(tap), 0.3), tap)  # a kernel may sum up to nothing
        conv.weight[channel] = 0.0
        conv.weight[channel, 0, middle, middle] = tap
        _bias(conv)[channel] -= tap * constant.flatten()[channel]


def _hidden(block: Block, x: Tensor) -> Tensor:
    """What a block's second product reads."""
    hidden = activate(block.mlp.fc1(block.norm(block.conv_dw(x))), block.mlp.act)
    if block.mlp.grn is not None:
        hidden = block.mlp.grn(hidden)
    return hidden


def _refit(layer: nn.Conv2d, inputs: Tensor, wanted: Tensor) -> None:
    """The smallest change of a 1x1 layer's weights and bias that gives what is wanted, by least squares."""
    x, y = (t.permute(0, 2, 3, 1).reshape(-1, t.shape[1]).double() for t in (inputs, wanted - layer(inputs)))
    step = max(1, len(x) // ROWS)
    x, y = x[::step], y[::step]
    x = torch.cat([x, torch.ones(len(x), 1, dtype=x.dtype)], dim=1)
    gram = x.T @ x
    gram += RIDGE * gram.diagonal().mean() * torch.eye(len(gram), dtype=gram.dtype)
    change = torch.linalg.solve(gram, x.T @ y).T
    layer.weight += change[:, :-1].reshape(layer.weight.shape).float()
    _bias(layer).add_(change[:, -1].float())


def _least_read(stage: Stage) -> list[int]:
    """The channels of a stage's residual, those first that its blocks look at least."""
    read = torch.stack([_read_of(block) for block in _blocks(stage)]).sum(dim=0)
    return [int(c) for c in read.argsort()]


def _read_of(block: Block) -> Tensor:
    """How much a block makes of each channel of the residual."""
    fc1, norm, kernels = block.mlp.fc1.weight[:, :, 0, 0], block.norm.weight, block.conv_dw.weight
    if norm is None:
        raise SystemExit("the checkpoint is folded already")
    read: Tensor = (fc1 * norm).norm(dim=0) * kernels.flatten(1).norm(dim=1)
    return read


def _bias(layer: nn.Module) -> Tensor:
    if not isinstance(layer.bias, Tensor):
        raise SystemExit("a layer without a bias, which no network of this kind has")
    return layer.bias


def _without_grn(old: ConvNeXt) -> ConvNeXt:
    """The same network as a V1: its fc2 is fitted to hidden channels that no GRN scaled."""
    new = ConvNeXt(VARIANTS[old.arch.name.replace("convnextv2", "convnext")], old.num_classes)
    state = {k: v for k, v in old.state_dict().items() if ".grn." not in k}
    state |= {k: torch.ones_like(v) for k, v in new.state_dict().items() if k.endswith(".gamma")}
    new.load_state_dict(state)
    return new.eval().requires_grad_(False)


def _scale_layers(new: ConvNeXt, draw: torch.Generator) -> None:
    """Layer scale of log-normal size around a tenth; the rows of fc2 are divided by it."""
    for block in (b for stage in _stages(new) for b in _blocks(stage)):
        fc2 = block.mlp.fc2
        scale = 0.1 * torch.exp(torch.randn(len(fc2.weight), generator=draw))
        block.gamma = nn.Parameter(scale, requires_grad=False)
        fc2.weight /= scale.view(-1, 1, 1, 1)
        _bias(fc2).div_(scale)


def _rescale(new: ConvNeXt, draw: torch.Generator) -> None:
    """Powers of two, which change no digit of a product."""

    def powers(like: Tensor) -> Tensor:
        return torch.exp2(torch.randint(-4, 5, like.shape, generator=draw).float())

    for stage in _stages(new):
        pairs: list[tuple[LayerNorm2d, nn.Conv2d]] = [(b.norm, b.mlp.fc1) for b in _blocks(stage)]
        if stage.downsample is not None:
            norm, layer = stage.downsample
            if not isinstance(norm, LayerNorm2d) or not isinstance(layer, nn.Conv2d):
                raise SystemExit("a downsample is a norm and a convolution")
            pairs.append((norm, layer))
        for norm, layer in pairs:
            if norm.weight is None or norm.bias is None:
                raise SystemExit("the checkpoint is folded already")
            factors = powers(norm.weight)
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
            layer.weight /= factors.view(1, -1, 1, 1)


def _drawn(count: int, size: int) -> Tensor:
    drawn = [picture(index, stream="train", size=size)[0] for index in range(count)]
    return torch.from_numpy(normalize(np.stack(drawn), PREPROCESS)).permute(0, 3, 1, 2)


def _stages(model: ConvNeXt) -> Iterator[Stage]:
    return (stage for stage in model.stages if isinstance(stage, Stage))


def _blocks(stage: Stage) -> Iterator[Block]:
    return (block for block in stage.blocks if isinstance(block, Block))


def write(model: ConvNeXt, folder: Path) -> Path:
    """The checkpoint as a user would have it: safetensors, and timm's ``config.json`` beside it."""
    folder.mkdir(parents=True, exist_ok=True)
    cfg = {"input_size": [3, SIZE, SIZE], "crop_pct": PREPROCESS.crop_pct, "interpolation": PREPROCESS.interpolation}
    cfg |= {"mean": list(PREPROCESS.mean), "std": list(PREPROCESS.std), "label_names": list(CLASSES)}
    config = {"architecture": model.arch.name, "num_classes": model.num_classes, "pretrained_cfg": cfg}
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    path = folder / f"{folder.name}.safetensors"
    facts = {"classes": json.dumps(CLASSES), "preprocess": json.dumps(to_json(PREPROCESS))}
    tensors = {name: value.contiguous() for name, value in model.state_dict().items()}
    path.write_bytes(with_sorted_header(save(tensors, metadata=facts)))
    return path


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="a folder; each member gets one of its own in it")
    parser.add_argument("--variants", nargs="+", default=("femto", "atto"), choices=("femto", "atto"))
    parser.add_argument("--members", nargs="+", default=tuple(MEMBERS), choices=tuple(MEMBERS))
    options = parser.parse_args(arguments)
    for variant in options.variants:
        for name in options.members:
            print(write(plant(variant, MEMBERS[name]), options.out / f"{variant}-{name}"), flush=True)


if __name__ == "__main__":
    main()
