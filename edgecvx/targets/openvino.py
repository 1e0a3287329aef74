"""OpenVINO IR."""

from edgecvx.targets.base import Target

TARGET = Target(
    name="openvino",
    title="OpenVINO",
    format="openvino",
    suffix=".xml",
    runtime="openvino",
    lower="edgecvx.export.openvino:lower",
    options="edgecvx.export.openvino:OpenVINOOptions",
    reads_ops="edgecvx.export.openvino:read_ops",
    extra="openvino",
    note="Intel CPUs, GPUs and NPUs; also Arm CPUs",
)
