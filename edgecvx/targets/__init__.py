"""What differs from target to target, as data; one small file each.

The table names them without importing any, so that listing costs nothing.
"""

from __future__ import annotations

from edgecvx.errors import one_of
from edgecvx.targets.base import Target, load_attribute

TARGETS: dict[str, str] = {
    "onnx": "edgecvx.targets.onnx:TARGET",
    "openvino": "edgecvx.targets.openvino:TARGET",
    "tflite": "edgecvx.targets.tflite:TARGET",
    "coreml": "edgecvx.targets.coreml:TARGET",
    "tensorrt": "edgecvx.targets.tensorrt:TARGET",
    "raspberrypi4": "edgecvx.targets.raspberrypi4:TARGET",
    "raspberrypi5": "edgecvx.targets.raspberrypi5:TARGET",
    "jetson-orin-nano": "edgecvx.targets.jetson_orin_nano:TARGET",
    "android-cpu": "edgecvx.targets.android_cpu:TARGET",
    "iphone": "edgecvx.targets.iphone:TARGET",
    "intel-cpu": "edgecvx.targets.intel_cpu:TARGET",
}
"""Name -> ``module:attribute``."""


def get_target(name: str) -> Target:
    """The target of this name.

    Raises:
        UsageError: There is none; the message names the nearest.
    """
    if name not in TARGETS:
        raise one_of("target", name, tuple(TARGETS))
    target: Target = load_attribute(TARGETS[name])
    return target


def all_targets() -> list[Target]:
    """Every target, in the order they are shown."""
    return [get_target(name) for name in TARGETS]
