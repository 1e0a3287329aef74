"""The network the other tools convert: transformers' own module, logits only."""

import sys
from pathlib import Path

import torch
from transformers import ConvNextV2ForImageClassification


class Logits(torch.nn.Module):
    """Converters want plain tensors out."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.network = ConvNextV2ForImageClassification.from_pretrained(folder)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.network(image).logits


def arguments() -> tuple[Logits, torch.Tensor, Path]:
    """Of every converter: the folder of the network, and the file to write."""
    return Logits(Path(sys.argv[1])).eval(), torch.zeros(1, 3, 224, 224), Path(sys.argv[2])
