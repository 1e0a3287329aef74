"""``openvino.convert_model`` of the PyTorch module: python to_openvino.py NETWORK FILE."""

import openvino
from network import arguments

network, image, path = arguments()
model = openvino.convert_model(network, example_input=image, input=[1, 3, 224, 224])
model.input(0).set_names({"image"})
model.output(0).set_names({"logits"})
openvino.save_model(model, path, compress_to_fp16=False)
