"""iPhone: Core ML."""

from dataclasses import replace

from edgecvx.targets.coreml import TARGET as COREML

TARGET = replace(
    COREML,
    name="iphone",
    title="iPhone",
    note="Neural Engine, GPU or processor, as Core ML chooses; not run on hardware",
)
