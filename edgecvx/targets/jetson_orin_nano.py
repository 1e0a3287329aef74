"""Jetson Orin Nano: TensorRT, as JetPack 6.1 and newer bring it."""

from dataclasses import replace

from edgecvx.targets.tensorrt import TARGET as TENSORRT

TARGET = replace(
    TENSORRT,
    name="jetson-orin-nano",
    title="Jetson Orin Nano",
    note="JetPack 6.1 or newer (TensorRT 10.3), compute capability 8.7, no DLA; not run on hardware",
)
