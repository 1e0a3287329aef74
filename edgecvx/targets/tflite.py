"""TFLite, also called LiteRT."""

from edgecvx.targets.base import Target

TARGET = Target(
    name="tflite",
    title="TFLite / LiteRT",
    format="tflite",
    suffix=".tflite",
    runtime="tflite",
    lower="edgecvx.export.tflite:lower",
    options="edgecvx.export.tflite:TFLiteOptions",
    reads_ops="edgecvx.export.tflite_inspection:read_ops",
    extra="tflite",
    note="Android, Raspberry Pi and other boards, through XNNPACK",
)
