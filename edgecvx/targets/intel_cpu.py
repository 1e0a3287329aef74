"""Intel processors: OpenVINO."""

from dataclasses import replace

from edgecvx.targets.openvino import TARGET as OPENVINO

TARGET = replace(
    OPENVINO,
    name="intel-cpu",
    title="Intel, processor",
    note="x86-64 with AVX2 or AVX-512; INT8 is fastest with VNNI",
)
