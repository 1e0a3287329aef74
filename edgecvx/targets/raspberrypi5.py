"""Raspberry Pi 5: TFLite through XNNPACK."""

from dataclasses import replace

from edgecvx.targets.tflite import TARGET as TFLITE

TARGET = replace(
    TFLITE,
    name="raspberrypi5",
    title="Raspberry Pi 5",
    note="64-bit Raspberry Pi OS, Cortex-A76",
)
