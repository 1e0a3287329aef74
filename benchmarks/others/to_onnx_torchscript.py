"""``torch.onnx.export(dynamo=False)``, the older exporter: python to_onnx_torchscript.py NETWORK FILE."""

import torch
from network import arguments

network, image, path = arguments()
torch.onnx.export(network, (image,), path, dynamo=False, input_names=["image"], output_names=["logits"])
