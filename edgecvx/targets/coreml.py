"""Core ML packages."""

from edgecvx.quantize.scheme import Role, Scheme
from edgecvx.spec import Precision
from edgecvx.targets.base import Target

INT8 = Scheme(outputs=frozenset(Role) - {Role.CLASSIFIER}, symmetric=True, pairs=())
"""As Core ML Tools' own quantizer writes it, which knows what the Neural Engine takes as one: every layer stands
between two quantize-dequantize pairs, and zero points are 0 (docs/coreml.md). Only the logits are not put on a grid."""

TARGET = Target(
    name="coreml",
    title="Core ML",
    format="coreml",
    suffix=".mlpackage",
    runtime="coreml",
    lower="edgecvx.export.coreml.lower:lower",
    options="edgecvx.export.coreml.lower:CoreMLOptions",
    checks="edgecvx.export.coreml.options:check_request",
    reads_ops="edgecvx.runtimes.mil.executor:read_ops",
    extra="coreml",
    schemes={Precision.INT8: INT8},
    note="iPhone, iPad, Mac; written on any system, run by Apple's",
)
