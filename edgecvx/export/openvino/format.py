"""OpenVINO IR."""

from edgecvx.export.base import Format
from edgecvx.graph.pairs import PairOrder
from edgecvx.graph.scheme import Scheme, Sparing
from edgecvx.spec import Precision

SPARES = Sparing(weights=0.996)
"""The CPU plugin's int8 depthwise kernel is no faster than its float one, and its input has to be rounded first: it is
there for the weights alone."""

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
    schemes={Precision.INT8: Scheme(spares=SPARES, pairs=PAIRS)},
    note="Intel CPUs, GPUs and NPUs; Arm CPUs in FP32 (OpenVINO 2026.4 does not open INT8 files of V2 there)",
)
