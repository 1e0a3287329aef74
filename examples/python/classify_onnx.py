"""An ONNX file without edgecvx: ``python classify_onnx.py FILE.onnx PICTURE``."""

import json
import os
import sys
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

os.environ["ORT_DISABLE_TELEMETRY"] = "1"  # has to be said before it is loaded
import onnxruntime

model = json.loads(Path(f"{sys.argv[1]}.edgecvx.json").read_text(encoding="utf-8"))["model"]
size, crop, mean, std = (model["preprocess"][key] for key in ("size", "crop_pct", "mean", "std"))
picture = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
sides = [side * int(size / crop) // min(picture.size) for side in picture.size]
left, top = (round((side - size) / 2) for side in sides)
picture = picture.resize(sides, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
batch = ((np.asarray(picture) / 255 - mean) / std).astype(np.float32)[None].transpose(0, 3, 1, 2)
session = onnxruntime.InferenceSession(sys.argv[1], providers=["CPUExecutionProvider"])
logits = session.run(["logits"], {"image": batch})[0][0]
powers = np.exp(logits - logits.max())
names = model["labels"] or range(logits.size)
for index in np.argsort(-logits)[:5]:
    print(f"{powers[index] / powers.sum():.4f}", names[index])
