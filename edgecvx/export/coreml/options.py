"""What a Core ML file should be, and what Core ML cannot take: known before anything is computed or imported."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from edgecvx.errors import UsageError
from edgecvx.export.base import Options
from edgecvx.spec import InputKind


@dataclass(frozen=True, slots=True, kw_only=True)
class CoreMLOptions(Options):
    """What a Core ML file should be; its taps are FP32, and one the task returns anyway is not repeated."""

    image_input: bool | Literal["auto"] = "auto"
    """Whether the file takes a picture (a ``CVPixelBuffer``) or an array. ``auto``: a picture where the graph takes
    bytes. True on a graph that takes floats writes the preprocessing into the program, out of the metadata."""
    classifier: bool | Literal["auto"] = "auto"
    """Whether the file also returns the label and each label's probability, as Vision and Xcode's preview expect.
    ``auto``: where labels are known and the batch is 1. The logits are an output in any case."""
    ios: Literal["auto", 16, 17] = "auto"
    """The oldest system that must run the file; 16 goes with macOS 13, 17 with macOS 14. ``auto``: 16, and 17 for INT8,
    whose activations iOS 16 has no operations for."""
    int8_arithmetic: Literal["fp16", "fp32"] = "fp16"
    """What an INT8 file computes in outside of the integers. The Neural Engine has FP16 only; FP32 is for comparing a
    file with the quantized graph number by number."""

    def __post_init__(self) -> None:
        if self.ios not in ("auto", 16, 17):
            raise UsageError(f"Core ML packages are written for iOS 16 or 17, not {self.ios}")
        if self.int8_arithmetic not in ("fp16", "fp32"):
            raise UsageError(f"an INT8 package computes the rest in fp16 or fp32, not {self.int8_arithmetic!r}")
        if self.precision.quantized and not self.precision.calibrated:
            raise UsageError(
                "Core ML has no int8-dynamic: the scales of activations are constants of the file; use int8"
            )
        if self.precision.quantized and self.ios == 16:
            raise UsageError("Core ML has INT8 activations from iOS 17 on: leave ios on auto, or ask for fp16")

    @property
    def system(self) -> int:
        """The oldest iOS that runs the file."""
        return (17 if self.precision.quantized else 16) if self.ios == "auto" else self.ios

    @property
    def half(self) -> bool:
        """Whether the floats of the program are FP16."""
        return self.precision.half or (self.precision.quantized and self.int8_arithmetic == "fp16")

    def takes_picture(self, input_kind: InputKind) -> bool:
        """Whether the file takes a picture; else it takes an array."""
        return input_kind is InputKind.UINT8 if self.image_input == "auto" else self.image_input


def check_request(options: CoreMLOptions, *, input_kind: InputKind, batch: int) -> None:
    """Refuses an export that Core ML has no file for, before any work is done for it.

    Args:
        options: Of the file.
        input_kind: What the canonical graph will take.
        batch: How many pictures it will take.

    Raises:
        UsageError: With what does not go together, and what does.
    """
    picture = options.takes_picture(input_kind)
    if input_kind is InputKind.UINT8 and not picture:
        raise UsageError(
            "Core ML has no array of bytes: a file with --input uint8 takes a picture; leave image_input on"
        )
    if picture and batch != 1:
        raise UsageError(f"Core ML takes one picture at a time: --batch {batch} needs --input float")
