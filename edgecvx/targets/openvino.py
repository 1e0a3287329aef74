"""OpenVINO IR."""

from edgecvx.quantize.scheme import Scheme
from edgecvx.spec import Precision
from edgecvx.targets.base import Target

FLOAT_DEPTHWISE = ("stages.0.*.conv_dw", "stages.1.*.conv_dw")
"""The CPU plugin's int8 depthwise kernel is no faster than its float one, and the large maps would have to be rounded
for it first. In the later stages it costs little, and their weights are most of the depthwise weights."""

TARGET = Target(
    name="openvino",
    title="OpenVINO",
    format="openvino",
    suffix=".xml",
    runtime="openvino",
    lower="edgecvx.export.openvino:lower",
    options="edgecvx.export.openvino:OpenVINOOptions",
    reads_ops="edgecvx.export.openvino_inspection:read_ops",
    extra="openvino",
    schemes={Precision.INT8: Scheme(keep_float=FLOAT_DEPTHWISE)},
    note="Intel CPUs, GPUs and NPUs; also Arm CPUs",
)
