"""OpenVINO IR."""

from edgecvx.quantize.scheme import Scheme
from edgecvx.spec import Precision
from edgecvx.targets.base import Target

FLOAT_DEPTHWISE = ("stages.0.*.conv_dw", "stages.1.*.conv_dw")
"""The CPU plugin's int8 depthwise kernel is no faster than its float one, and its input has to be rounded first. Those
of the later stages are in int8 for their weights, which are most of the depthwise ones, and so that atto has 95% of its
multiply-accumulates in INT8."""

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
