"""Writes a ConvNeXt V2 with seeded random weights as a transformers folder: python make_network.py VARIANT FOLDER.

Every tool then starts from this same folder, ours as well. The weights are drawn for every layer, GRN included, which
starts at zero in a network that is to be trained and would then do nothing.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

WIDTHS = {"atto": 40, "femto": 48, "pico": 64, "nano": 80}
DEPTHS = {"atto": 6, "femto": 6, "pico": 6, "nano": 8}


def main(variant: str, folder: Path) -> None:
    width = WIDTHS[variant]
    network = ConvNextV2ForImageClassification(
        ConvNextV2Config(
            depths=[2, 2, DEPTHS[variant], 2],
            hidden_sizes=[width, 2 * width, 4 * width, 8 * width],
            num_labels=1000,
            image_size=224,
        )
    )
    draw = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in network.named_parameters():
            noise = torch.randn(p.shape, generator=draw)
            if ".grn." in name:
                p.copy_(0.5 * noise if name.endswith("weight") else 0.1 * noise)
            elif p.ndim >= 2:
                p.copy_(noise * p[0].numel() ** -0.5)
            else:
                p.copy_(1.0 + 0.2 * noise if name.endswith("weight") else 0.1 * noise)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "crop_pct": 0.875,
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": [0.485, 0.456, 0.406],
                "image_processor_type": "ConvNextImageProcessor",
                "image_std": [0.229, 0.224, 0.225],
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"shortest_edge": 224},
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
