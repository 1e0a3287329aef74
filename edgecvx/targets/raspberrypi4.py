"""Raspberry Pi 4: TFLite through XNNPACK."""

from dataclasses import replace

from edgecvx.spec import Precision
from edgecvx.targets.tflite import TARGET as TFLITE

TARGET = replace(
    TFLITE,
    name="raspberrypi4",
    title="Raspberry Pi 4",
    # GELU as a table: 7% fewer instructions on a Cortex-A72, one thread (docs/tflite.md).
    schemes={**TFLITE.schemes, Precision.INT8: replace(TFLITE.schemes[Precision.INT8], activations=True)},
    threads=3,  # of four: one is left to the camera and the page
    note="64-bit Raspberry Pi OS, Cortex-A72",
)
