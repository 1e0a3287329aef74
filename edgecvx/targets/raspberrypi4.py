"""Raspberry Pi 4: TFLite through XNNPACK."""

from dataclasses import replace

from edgecvx.targets.tflite import TARGET as TFLITE

TARGET = replace(
    TFLITE,
    name="raspberrypi4",
    title="Raspberry Pi 4",
    note="64-bit Raspberry Pi OS, Cortex-A72",
)
