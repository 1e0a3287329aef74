"""Android on the processor: TFLite through XNNPACK."""

from dataclasses import replace

from edgecvx.targets.tflite import TARGET as TFLITE

TARGET = replace(
    TFLITE,
    name="android-cpu",
    title="Android, processor",
    # GELU stays in XNNPACK, unlike on a Raspberry Pi: as a table it runs in one thread, between partitions.
    threads=4,  # large cores; a small one would hold them up
    note="64-bit Arm; not run on hardware",
)
