"""Core ML packages."""

from edgecvx.targets.base import Target

TARGET = Target(
    name="coreml",
    title="Core ML",
    format="coreml",
    suffix=".mlpackage",
    runtime="coreml",
    lower="edgecvx.export.coreml:lower",
    options="edgecvx.export.coreml:CoreMLOptions",
    reads_ops="edgecvx.runtimes.mil:read_ops",
    extra="coreml",
    note="iPhone, iPad, Mac; written on any system, run by Apple's",
)
