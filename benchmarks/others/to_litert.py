"""``litert_torch.convert``: python to_litert.py NETWORK FILE."""

import litert_torch
from network import arguments

network, image, path = arguments()
litert_torch.convert(network, (image,)).export(str(path))
