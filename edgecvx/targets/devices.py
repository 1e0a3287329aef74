"""Devices, each as what differs from the format it takes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from edgecvx.export.coreml.format import FORMAT as COREML
from edgecvx.export.openvino.format import FORMAT as OPENVINO
from edgecvx.export.tensorrt.format import FORMAT as TENSORRT
from edgecvx.export.tflite.format import FORMAT as TFLITE
from edgecvx.spec import Precision
from edgecvx.targets.base import Target

_GELU_AS_TABLE = {**TFLITE.schemes, Precision.INT8: replace(TFLITE.schemes[Precision.INT8], activations=True)}
"""Fewer instructions, one thread (docs/tflite.md): 7% on a Cortex-A72, 13% on a Cortex-A76."""

_ALL = (
    Target.of(
        TFLITE,
        name="raspberrypi4",
        title="Raspberry Pi 4",
        schemes=_GELU_AS_TABLE,
        threads=3,  # of four: one is left to the camera and the page
        note="64-bit Raspberry Pi OS, Cortex-A72",
    ),
    Target.of(
        TFLITE,
        name="raspberrypi5",
        title="Raspberry Pi 5",
        schemes=_GELU_AS_TABLE,
        threads=3,
        note="64-bit Raspberry Pi OS, Cortex-A76",
    ),
    Target.of(
        TENSORRT,
        name="jetson-orin-nano",
        title="Jetson Orin Nano",
        note="JetPack 6.1 or newer (TensorRT 10.3), compute capability 8.7, no DLA; not run on hardware",
    ),
    Target.of(
        TFLITE,
        name="android-cpu",
        title="Android, processor",
        # GELU stays in XNNPACK, unlike on a Raspberry Pi: as a table it runs in one thread, between partitions.
        threads=4,  # large cores; a small one would hold them up
        note="64-bit Arm; not run on hardware",
    ),
    Target.of(
        COREML,
        name="iphone",
        title="iPhone",
        note="Neural Engine, GPU or processor, as Core ML chooses; not run on hardware",
    ),
    Target.of(
        OPENVINO,
        name="intel-cpu",
        title="Intel, processor",
        note="x86-64 with AVX2 or AVX-512; INT8 is fastest with VNNI",
    ),
)

DEVICES: Mapping[str, Target] = MappingProxyType({target.name: target for target in _ALL})
