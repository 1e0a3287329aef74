"""A TFLite file without edgecvx: ``python classify_tflite.py FILE.tflite PICTURE``."""

import json
import sys
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from PIL import Image, ImageOps

model = json.loads(Path(f"{sys.argv[1]}.edgecvx.json").read_text(encoding="utf-8"))["model"]
size, crop, mean, std = (model["preprocess"][key] for key in ("size", "crop_pct", "mean", "std"))
picture = ImageOps.exif_transpose(Image.open(sys.argv[2])).convert("RGB")
sides = [side * int(size / crop) // min(picture.size) for side in picture.size]
left, top = (round((side - size) / 2) for side in sides)
picture = picture.resize(sides, Image.Resampling.BICUBIC).crop((left, top, left + size, top + size))
batch = ((np.asarray(picture) / 255 - mean) / std).astype(np.float32)[None]
interpreter = Interpreter(sys.argv[1], num_threads=3)
interpreter.allocate_tensors()
interpreter.set_tensor(interpreter.get_input_details()[0]["index"], batch)
interpreter.invoke()
logits = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
powers = np.exp(logits - logits.max())
names = model["labels"] or range(logits.size)
for index in np.argsort(-logits)[:5]:
    print(f"{powers[index] / powers.sum():.4f}", names[index])
