"""Writes the same function with badly scaled channels: python scale_channels.py NETWORK FOLDER.

The input channels of every block's first 1x1 convolution and of every downsample are multiplied by random powers of
two, from 2^-4 to 2^4, in the scale and bias of the LayerNorm before them, and the weights behind them divided by the
same. A product of floats is changed in its exponent alone by a power of two, so the logits stay the same to the last
bit, which is checked. Training leaves such scales behind by itself; a network written so is what it takes to see
whether a quantizer looks at them.
"""

import sys
from pathlib import Path

import torch
from transformers import ConvNextV2ForImageClassification

LARGEST = 4
"""Of the exponents, either way."""


def main(network: Path, folder: Path) -> None:
    model = ConvNextV2ForImageClassification.from_pretrained(network).eval()
    picture = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        before = model(picture).logits
        scale(model, torch.Generator().manual_seed(0))
        after = model(picture).logits
    if not torch.equal(before, after):
        raise SystemExit(f"the function changed: logits differ by {(before - after).abs().max():.3g}")
    model.save_pretrained(folder)
    (folder / "preprocessor_config.json").write_bytes((network / "preprocessor_config.json").read_bytes())


def scale(model: ConvNextV2ForImageClassification, draw: torch.Generator) -> None:
    """Moves random powers of two from each weight's input channels into the LayerNorm before it."""
    for stage in model.convnextv2.encoder.stages:
        pairs = [(layer.layernorm, layer.pwconv1) for layer in stage.layers]
        if len(stage.downsampling_layer):
            pairs.append((stage.downsampling_layer[0], stage.downsampling_layer[1]))
        for norm, product in pairs:
            exponents = torch.randint(-LARGEST, LARGEST + 1, norm.weight.shape, generator=draw)
            factors = torch.exp2(exponents.float())
            norm.weight.mul_(factors)
            norm.bias.mul_(factors)
            product.weight.div_(factors.reshape(1, -1, *[1] * (product.weight.ndim - 2)))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
