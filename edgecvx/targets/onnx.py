"""ONNX, for ONNX Runtime."""

from edgecvx.targets.base import Target

TARGET = Target(
    name="onnx",
    title="ONNX Runtime",
    format="onnx",
    suffix=".onnx",
    runtime="onnxruntime",
    lower="edgecvx.export.onnx:lower",
    options="edgecvx.export.onnx:OnnxOptions",
    reads_ops="edgecvx.export.onnx:read_ops",
    extra="onnx",
    note="Linux, Windows, macOS, Android; x86 and Arm",
)
