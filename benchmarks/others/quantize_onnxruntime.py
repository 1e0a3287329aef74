"""``quantize_static`` of ONNX Runtime, QDQ, per channel: python quantize_onnxruntime.py BASE PICTURES FILE OPS.

OPS is ``all``, every op it knows, or ``products``, which is Conv, Gemm and MatMul: the convolutions alone, most of
which transformers writes as matrix products. Activations are unsigned, as is the tool's default on x86: with signed
ones both files take half as long again, and so does one in which nothing but Conv is quantized.
"""

import sys
import tempfile
from pathlib import Path

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from pictures import normalized

PRODUCTS = ["Conv", "Gemm", "MatMul"]


class Pictures(CalibrationDataReader):
    """One picture after the other."""

    def __init__(self, path: Path, name: str) -> None:
        self._name, self._left = name, normalized(path)

    def get_next(self) -> dict | None:
        """The next picture, or None behind the last one."""
        picture = next(self._left, None)
        return None if picture is None else {self._name: picture}


def preprocessed(base: Path, folder: Path) -> Path:
    """The tool's own preparation; its symbolic shape inference is left out where it fails."""
    path = folder / "prepared.onnx"
    try:
        quant_pre_process(str(base), str(path))
    except Exception as error:  # noqa: BLE001 - whatever it raises, the next attempt tells
        print(f"quant_pre_process fails ({type(error).__name__}: {error}); without symbolic shape inference")
        quant_pre_process(str(base), str(path), skip_symbolic_shape=True)
    return path


def main(base: Path, pictures: Path, path: Path, ops: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        prepared = preprocessed(base, Path(folder))
        quantize_static(
            str(prepared),
            str(path),
            Pictures(pictures, onnx.load(prepared).graph.input[0].name),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=None if ops == "all" else PRODUCTS,
            per_channel=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
