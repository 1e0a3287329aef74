"""OpenVINO IR."""

from edgecvx.export.base import Format
from edgecvx.graph.pairs import PairOrder
from edgecvx.graph.scheme import Scheme
from edgecvx.spec import Precision

FLOAT_DEPTHWISE = ("stages.0.*.conv_dw", "stages.1.*.conv_dw")
"""The CPU plugin's int8 depthwise kernel is no faster than its float one, and its input has to be rounded first. Those
of the later stages are in int8 for their weights, which are most of the depthwise ones, and so that atto has 95% of its
multiply-accumulates in INT8."""

PAIRS = (PairOrder.CHANNELS,)
"""On x86 processors without VNNI, from SSE4.2 to AVX-512."""

FORMAT = Format(
    name="openvino",
    title="OpenVINO",
    kind="openvino",
    suffixes=(
        ".xml",
        ".bin",
    ),
    runtime="openvino",
    read_products="edgecvx.export.openvino.reader:read_products",
    extra="openvino",
    tools=("openvino",),
    schemes={Precision.INT8: Scheme(keep_float=FLOAT_DEPTHWISE, pairs=PAIRS)},
    note="Intel CPUs, GPUs and NPUs; Arm CPUs in FP32 (OpenVINO 2026.4 does not open INT8 files of V2 there)",
)
