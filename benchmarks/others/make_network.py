"""Writes a ConvNeXt V2 as a transformers folder: python make_network.py VARIANT FOLDER [CHECKPOINT].

Every tool then starts from this same folder, ours as well. Without a checkpoint, the weights are drawn for every layer
from a seed, GRN included, which starts at zero in a network that is to be trained and would then do nothing. With one,
a safetensors file in timm's naming whose metadata hold its classes and preprocessing, it is that network.
"""

import json
import re
import sys
from pathlib import Path

import torch
from safetensors import safe_open
from transformers import ConvNextV2Config, ConvNextV2ForImageClassification

WIDTHS = {"atto": 40, "femto": 48, "pico": 64, "nano": 80}
DEPTHS = {"atto": 6, "femto": 6, "pico": 6, "nano": 8}
TRANSFORMERS_NAMES = (
    (r"stem\.0\.", "convnextv2.embeddings.patch_embeddings."),
    (r"stem\.1\.", "convnextv2.embeddings.layernorm."),
    (r"stages\.(\d)\.downsample\.(\d)\.", r"convnextv2.encoder.stages.\1.downsampling_layer.\2."),
    (r"stages\.(\d)\.blocks\.(\d+)\.conv_dw\.", r"convnextv2.encoder.stages.\1.layers.\2.dwconv."),
    (r"stages\.(\d)\.blocks\.(\d+)\.norm\.", r"convnextv2.encoder.stages.\1.layers.\2.layernorm."),
    (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.fc(\d)\.", r"convnextv2.encoder.stages.\1.layers.\2.pwconv\3."),
    (r"stages\.(\d)\.blocks\.(\d+)\.mlp\.grn\.", r"convnextv2.encoder.stages.\1.layers.\2.grn."),
    (r"head\.norm\.", "convnextv2.layernorm."),
    (r"head\.fc\.", "classifier."),
)
PREPROCESS = {
    "size": 224,
    "crop_pct": 0.875,
    "mean": [0.485, 0.456, 0.406],
    "std": [0.229, 0.224, 0.225],
}


def main(variant: str, folder: Path, checkpoint: Path | None) -> None:
    if checkpoint is None:
        network, preprocess = empty(variant, [f"LABEL_{i}" for i in range(1000)], 1e-12), PREPROCESS
        draw(network)
    else:
        network, preprocess = trained(variant, checkpoint)
    network.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_text(
        json.dumps(
            {
                "crop_pct": preprocess["crop_pct"],
                "do_normalize": True,
                "do_rescale": True,
                "do_resize": True,
                "image_mean": preprocess["mean"],
                "image_processor_type": "ConvNextImageProcessor",
                "image_std": preprocess["std"],
                "resample": 3,
                "rescale_factor": 1 / 255,
                "size": {"shortest_edge": preprocess["size"]},
            }
        )
    )


def empty(variant: str, classes: list[str], head_norm_eps: float) -> ConvNextV2ForImageClassification:
    width = WIDTHS[variant]
    return ConvNextV2ForImageClassification(
        ConvNextV2Config(
            depths=[2, 2, DEPTHS[variant], 2],
            hidden_sizes=[width, 2 * width, 4 * width, 8 * width],
            id2label=dict(enumerate(classes)),
            label2id={name: i for i, name in enumerate(classes)},
            image_size=224,
            layer_norm_eps=head_norm_eps,
        )
    )


def draw(network: ConvNextV2ForImageClassification) -> None:
    """Seeded weights, the same on any day."""
    source = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, p in network.named_parameters():
            noise = torch.randn(p.shape, generator=source)
            if ".grn." in name:
                p.copy_(0.5 * noise if name.endswith("weight") else 0.1 * noise)
            elif p.ndim >= 2:
                p.copy_(noise * p[0].numel() ** -0.5)
            else:
                p.copy_(1.0 + 0.2 * noise if name.endswith("weight") else 0.1 * noise)


def trained(variant: str, checkpoint: Path) -> tuple[ConvNextV2ForImageClassification, dict]:
    """A checkpoint in timm's naming, and the preprocessing it was trained with."""
    with safe_open(checkpoint, "pt") as file:
        facts, tensors = file.metadata(), {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
    network = empty(variant, json.loads(facts["classes"]), 1e-6)  # timm's epsilon, in the last LayerNorm too
    shapes = {name: p.shape for name, p in network.state_dict().items()}
    network.load_state_dict({(new := renamed(name)): t.reshape(shapes[new]) for name, t in tensors.items()})
    return network, json.loads(facts["preprocess"])


def renamed(name: str) -> str:
    for pattern, theirs in TRANSFORMERS_NAMES:
        if re.match(pattern, name):
            return re.sub(pattern, theirs, name)
    raise SystemExit(f"no tensor of ConvNeXt V2 is called {name}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]) if len(sys.argv) > 3 else None)
