"""What a target refuses, and what it says then."""

from __future__ import annotations

import pytest

from edgecvx.errors import UsageError
from edgecvx.spec import Precision
from edgecvx.targets import get_target


def test_a_precision_a_target_does_not_have_is_named_with_those_who_do() -> None:
    with pytest.raises(UsageError) as refused:
        get_target("native").check_precision(Precision.FP32)
    assert str(refused.value) == (
        "target native has no fp32: it has int8; fp32 is in onnx, openvino, tflite, coreml, tensorrt"
    )
    with pytest.raises(
        UsageError, match="target iphone has no int8-dynamic: it has fp32, fp16, int8; int8-dynamic is in"
    ):
        get_target("iphone").check_precision(Precision.INT8_DYNAMIC)
    get_target("native").check_precision(Precision.INT8)
