"""TFLite, also called LiteRT."""

from edgecvx.export.base import Format
from edgecvx.graph.scheme import Role, Scheme, Sparing
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
        # TFLite's int8 kernels return int8. A layer whose output no grid holds well finds its scale at run time instead
        # and returns floats, which a depthwise convolution, and a stem fed with bytes, cannot. Where maps are small
        # that takes no longer, and a grid would cost a decibel or two (docs/tflite.md). Depthwise convolutions are no
        # faster in int8.
        Precision.INT8: Scheme(
            outputs=frozenset(Role) - {Role.CLASSIFIER},
            returns_integers=frozenset([Role.DEPTHWISE, Role.STEM]),
            returns_floats=("*.downsample.1", "stages.3.*.mlp.fc?"),
            spares=Sparing(stages=(1, 2, 3, 0), weights=0.0),
            pairs=(),  # XNNPACK widens to int32, or to int16 before it multiplies, on every processor
        ),
        # XNNPACK finds scales at run time in convolutions, not in depthwise ones. One written as the other has zeros to
        # multiply, and gains nothing; without any, 94.7% of atto's multiply-accumulates would be INT8. So it may be one
        # where its weights are few.
        Precision.INT8_DYNAMIC: Scheme(dynamic=True, spares=Sparing(stages=(1,), weights=0.0), pairs=()),
    },
    note="Android, Raspberry Pi and other boards, through XNNPACK",
)
