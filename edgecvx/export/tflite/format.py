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
        # A layer whose output no grid holds well finds its scale at run time and returns floats, which a depthwise
        # convolution and the stem, fed with bytes, cannot. Depthwise convolutions are no faster in int8.
        Precision.INT8: Scheme(
            outputs=frozenset(Role) - {Role.CLASSIFIER},
            returns_integers=frozenset([Role.DEPTHWISE, Role.STEM]),
            spares=Sparing(),
            pairs=(),  # XNNPACK widens to int32, or to int16 before it multiplies, on every processor
        ),
        # XNNPACK finds scales at run time in convolutions, not in depthwise ones. One written as the other has zeros to
        # multiply, and gains nothing; without any, 94.7% of atto's multiply-accumulates would be INT8. So it may be one
        # where its weights are few.
        Precision.INT8_DYNAMIC: Scheme(dynamic=True, spares=Sparing(stages=(1,), weights=0.0), pairs=()),
    },
    note="Android, Raspberry Pi and other boards, through XNNPACK",
)
