"""ONNX, for ONNX Runtime."""

from edgecvx.export.base import Format
from edgecvx.graph.pairs import PairOrder
from edgecvx.graph.scheme import Role, Scheme, Sparing
from edgecvx.spec import Precision

PAIRS = (PairOrder.ROWS, PairOrder.COLUMNS)
"""On x86 processors with AVX2 or AVX-512 and without VNNI; the stem of the form in rows is read by columns."""

FORMAT = Format(
    name="onnx",
    title="ONNX Runtime",
    kind="onnx",
    suffixes=(".onnx",),
    runtime="onnxruntime",
    options="edgecvx.export.onnx.lower:OnnxOptions",
    read_products="edgecvx.export.onnx.reader:read_products",
    extra="onnx",
    schemes={
        Precision.INT8: Scheme(
            outputs=frozenset([Role.DEPTHWISE]),
            returns_integers=frozenset([Role.DEPTHWISE]),
            spares=Sparing(),  # a 7x7 depthwise is slower in integers than in float, least so where maps are small
            pairs=PAIRS,
        ),
        Precision.INT8_DYNAMIC: Scheme(inputs=frozenset(Role) - {Role.DEPTHWISE}, dynamic=True, pairs=PAIRS),
    },
    note="Linux, Windows, macOS, Android; x86 and Arm",
)
