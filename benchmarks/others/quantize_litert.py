"""ai-edge-quantizer on litert_torch's file: python quantize_litert.py BASE PICTURES FILE RECIPE.

RECIPE is one of the package's own: ``static_wi8_ai8`` or ``dynamic_wi8_afp32``.
"""

import sys
from pathlib import Path

from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe
from pictures import normalized

base, pictures, path, chosen = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
(signature,) = Interpreter(base).get_signature_list().items()
key, names = signature
tool = quantizer.Quantizer(base, getattr(recipe, chosen)())
statistics = None
if tool.need_calibration:
    samples = [{names["inputs"][0]: picture} for picture in normalized(pictures)]
    statistics = tool.calibrate({key: samples}, num_threads=1)
tool.quantize(statistics).export_model(path, overwrite=True)
