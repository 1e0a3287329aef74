"""``nncf.quantize`` on OpenVINO's file: python quantize_nncf.py BASE PICTURES FILE PRESET.

PRESET is ``default`` (nothing said), ``performance`` or ``mixed``.
"""

import sys
from pathlib import Path

import nncf
import openvino
from pictures import normalized

base, pictures, path, preset = sys.argv[1], Path(sys.argv[2]), sys.argv[3], sys.argv[4]
chosen = {} if preset == "default" else {"preset": nncf.QuantizationPreset(preset)}
count = sum(1 for _ in normalized(pictures))
data = nncf.Dataset(list(normalized(pictures)))
model = nncf.quantize(openvino.Core().read_model(base), data, subset_size=count, **chosen)
openvino.save_model(model, path, compress_to_fp16=False)
