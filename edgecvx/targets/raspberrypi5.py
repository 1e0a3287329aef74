"""Raspberry Pi 5: TFLite through XNNPACK."""

from dataclasses import replace

from edgecvx.spec import Precision
from edgecvx.targets.tflite import TARGET as TFLITE

TARGET = replace(
    TFLITE,
    name="raspberrypi5",
    title="Raspberry Pi 5",
    # GELU as a table: 13% fewer instructions on a Cortex-A76, one thread (docs/tflite.md).
    schemes={**TFLITE.schemes, Precision.INT8: replace(TFLITE.schemes[Precision.INT8], activations=True)},
    threads=3,  # of four: one is left to the camera and the page
    note="64-bit Raspberry Pi OS, Cortex-A76",
)
