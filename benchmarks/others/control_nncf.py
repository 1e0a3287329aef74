"""NNCF's accuracy control on OpenVINO's file: python control_nncf.py BASE CALIBRATION VALIDATION FILE POINTS.

CALIBRATION and VALIDATION are pictures; beside the second lie its labels, ``….labels.npy``. At most POINTS of top-1 may
be lost on it: layers are taken back to floats, those first that cost most, until that is so.
"""

import sys
from pathlib import Path

import nncf
import numpy as np
import openvino
from pictures import normalized

base, calibration, validation, path, points = sys.argv[1], *map(Path, sys.argv[2:5]), float(sys.argv[5])


def right(model, data):
    """The part of the pictures whose first class is theirs, and each of them."""
    found = [float(model(x)[0].argmax() == label) for x, label in data]
    return float(np.mean(found)), found


pictures = list(normalized(calibration))
labels = np.load(validation.with_suffix(".labels.npy"))
model = nncf.quantize_with_accuracy_control(
    openvino.Core().read_model(base),
    nncf.Dataset(pictures),
    nncf.Dataset(list(zip(normalized(validation), labels, strict=True))),
    right,
    max_drop=points / 100,
    subset_size=len(pictures),
)
openvino.save_model(model, path, compress_to_fp16=False)
