"""``torch.onnx.export`` as it comes: python to_onnx_dynamo.py NETWORK FILE."""

import torch
from network import arguments

network, image, path = arguments()
torch.onnx.export(
    network, (image,), path, dynamo=True, external_data=False, input_names=["image"], output_names=["logits"]
)
