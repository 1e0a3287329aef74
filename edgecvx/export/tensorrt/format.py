"""TensorRT, on NVIDIA GPUs: Q/DQ ONNX, compiled on the device."""

from edgecvx.export.base import Format
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Precision

INT8 = Scheme(
    inputs=frozenset(Role) - {Role.STEM},
    outputs=frozenset([Role.DEPTHWISE]),
    returns_integers=frozenset([Role.DEPTHWISE]),
    symmetric=True,
    pairs=(),  # a GPU's sums are in int32; ONNX Runtime, which proves these files, computes them in float
)
"""By TensorRT's rules of explicit quantization (docs/tensorrt.md): zero points are 0; what stands before a LayerNorm is
quantized, so that the convolution returns INT8; the stem's three channels have no kernel, and bytes no zero point."""

FORMAT = Format(
    name="tensorrt",
    title="TensorRT",
    kind="onnx",
    suffixes=(".tensorrt.onnx",),
    runtime="tensorrt",
    proved_in="onnxruntime",
    broken_rules="edgecvx.export.tensorrt.rules:check_file",
    extra="onnx",
    schemes={Precision.INT8: INT8},
    note="NVIDIA GPUs and Jetson, TensorRT 10 and newer; compiled there by edgecvx build-engine; not run on hardware",
)
