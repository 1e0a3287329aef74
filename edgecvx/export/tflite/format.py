"""TFLite, also called LiteRT."""

from edgecvx.export.base import Format
from edgecvx.graph.scheme import Role, Scheme
from edgecvx.spec import Precision

FORMAT = Format(
    name="tflite",
    title="TFLite / LiteRT",
    kind="tflite",
    suffixes=(".tflite",),
    runtime="tflite",
    options="edgecvx.export.tflite.lower:TFLiteOptions",
    extra="tflite",
    schemes={
        # TFLite's int8 kernels return int8; the classifier finds its scale at run time and returns floats. Depthwise
        # convolutions are no faster in int8, and read the residual sum, whose outliers one grid does not hold well. So
        # most stay float: not those right behind a downsample, which read its int8 as it is, and not those of the last
        # stage, which have a third of all depthwise weights (atto's file would be over 0.28 of FP32's).
        Precision.INT8: Scheme(
            outputs=frozenset(Role) - {Role.CLASSIFIER},
            keep_float=("stages.0.*.conv_dw", "stages.[12].blocks.[!0]*.conv_dw"),
            pairs=(),  # XNNPACK widens to int32, or to int16 before it multiplies, on every processor
        ),
        # XNNPACK finds scales at run time in convolutions, not in depthwise ones. One written as the other has zeros to
        # multiply, and gains nothing; without any, 94.7% of atto's multiply-accumulates would be INT8. So it is one:
        # right behind a downsample, where its input has no outliers yet, and where its weights are few.
        Precision.INT8_DYNAMIC: Scheme(
            dynamic=True, keep_float=("stages.[!1].*.conv_dw", "stages.1.blocks.[!0]*.conv_dw"), pairs=()
        ),
    },
    note="Android, Raspberry Pi and other boards, through XNNPACK",
)
