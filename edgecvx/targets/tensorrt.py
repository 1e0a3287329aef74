"""TensorRT, on NVIDIA GPUs: Q/DQ ONNX, compiled on the device."""

from edgecvx.quantize.scheme import Role, Scheme
from edgecvx.spec import Precision
from edgecvx.targets.base import Target

INT8 = Scheme(
    inputs=frozenset(Role) - {Role.STEM},
    outputs=frozenset([Role.DEPTHWISE]),
    symmetric=True,
    pairs=(),  # a GPU's sums are in int32; ONNX Runtime, which proves these files, computes them in float
)
"""By TensorRT's rules of explicit quantization (docs/tensorrt.md): zero points are 0; what stands before a LayerNorm is
quantized, so that the convolution returns INT8; the stem's three channels have no kernel, and bytes no zero point."""

TARGET = Target(
    name="tensorrt",
    title="TensorRT",
    format="onnx",
    suffix=".tensorrt.onnx",
    runtime="tensorrt",
    proved_in="onnxruntime",
    lower="edgecvx.export.tensorrt.lower:lower",
    options="edgecvx.export.tensorrt.lower:TensorRTOptions",
    reads_ops="edgecvx.export.onnx.lower:read_ops",
    rules="edgecvx.export.tensorrt.rules:check_file",
    extra="onnx",
    schemes={Precision.INT8: INT8},
    note="NVIDIA GPUs and Jetson, TensorRT 10 and newer; compiled there by edgecvx build-engine; not run on hardware",
)
