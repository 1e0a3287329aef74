"""Core ML packages."""

from edgecvx.export.base import Format
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Precision

INT8 = Scheme(outputs=frozenset(Role) - {Role.CLASSIFIER}, symmetric=True, pairs=())
"""As Core ML Tools' own quantizer writes it, which knows what the Neural Engine takes as one: every layer stands
between two quantize-dequantize pairs, and zero points are 0 (docs/coreml.md). Only the logits are not put on a grid."""

FORMAT = Format(
    name="coreml",
    title="Core ML",
    kind="coreml",
    suffixes=(".mlpackage",),
    runtime="coreml",
    options="edgecvx.export.coreml.options:CoreMLOptions",
    check_request="edgecvx.export.coreml.options:check_request",
    extra="coreml",
    tools=("coremltools",),
    schemes={Precision.INT8: INT8},
    note="iPhone, iPad, Mac; written on any system, run by Apple's",
)
