"""Our own engine: a C library without dependencies, and its file."""

from edgecvx.export.base import Format
from edgecvx.graph.pairs import PairOrder
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Precision

INT8 = Scheme(
    inputs=frozenset(Role) - {Role.DEPTHWISE},
    activation_reach=True,
    pairs=(PairOrder.ROWS,),  # AVX2 multiplies bytes where they fit; elsewhere, and without, it is exact all the same
)
"""A depthwise convolution has few products for each number it returns; rounding its input first would take as long."""

FORMAT = Format(
    name="native",
    title="edgecvx engine",
    kind="native",
    suffixes=(".ecvx",),
    runtime="native",
    options="edgecvx.export.native.lower:NativeOptions",
    beside="edgecvx.web.folder:renew",  # a site there may hold a model whose file this one replaces
    extra="native",
    tools=("ziglang",),
    floats=(),
    schemes={Precision.INT8: INT8},
    logits_alone="its engine ends with the classifier",
    note="any processor with a C compiler; fastest on x86-64 and 64-bit Arm",
)
