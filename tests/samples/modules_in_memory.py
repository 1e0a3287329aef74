"""Modules as somebody holds them in a notebook: transformers' own, and one with timm's names and ``pretrained_cfg``."""

from __future__ import annotations

from typing import Any

import torch
from support import network
from torch import Tensor, nn

SHAPE = {"hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 1], "image_size": 64}
LABELS = ("rose", "tulip", "lily")


def drawn(module: nn.Module) -> nn.Module:
    """Weights at which every part of a network matters."""
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in module.parameters():
            p.copy_(0.3 * torch.randn(p.shape, generator=draw))
    return module


def of_transformers(version: int = 2, task: str = "ForImageClassification", **config: Any) -> Any:
    """A small ConvNeXt of transformers, in training mode as ``Trainer`` leaves it."""
    import transformers

    named = {"id2label": dict(enumerate(LABELS))}
    kind = "ConvNextV2" if version == 2 else "ConvNext"
    settings = getattr(transformers, f"{kind}Config")(**{**SHAPE, **named, **config})
    return drawn(getattr(transformers, f"{kind}{task}")(settings)).train()


def processor(**settings: Any) -> Any:
    """The image processor that goes with it."""
    import transformers

    # Newer versions keep the one that needs no torchvision under a name of its own.
    kind = getattr(transformers, "ConvNextImageProcessorPil", None) or transformers.ConvNextImageProcessor
    return kind(**{"size": {"shortest_edge": 64}, **settings})


PRETRAINED_CFG = {
    "architecture": "convnextv2_femto",
    "tag": "fcmae_ft_in1k",
    "license": "cc-by-nc-4.0",
    "input_size": (3, 64, 64),
    "crop_pct": 0.9,
    "crop_mode": "center",
    "interpolation": "bilinear",
    "mean": (0.1, 0.2, 0.3),
    "std": (0.4, 0.5, 0.6),
    "label_names": list(LABELS),
}


class TimmConvNeXt(nn.Module):
    """timm's ConvNeXt as far as an export sees it: the names of its tensors, ``pretrained_cfg``, and a forward pass."""

    def __init__(self, **cfg: Any) -> None:
        super().__init__()
        inner = network(num_classes=len(LABELS))
        self.stem, self.stages, self.head = inner.stem, inner.stages, inner.head
        self.pretrained_cfg = {**PRETRAINED_CFG, "architecture": "convnextv2_custom", **cfg}

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        x = self.stem(x)
        for stage in self.stages:
            x = stage(x)
        y: Tensor = self.head.fc(self.head.embed(x))  # type: ignore[misc]
        return y
