"""Our own engine in browsers: the native engine's file, the engine as WebAssembly, and a page for both."""

from edgecvx.export.base import Format
from edgecvx.export.native.format import INT8
from edgecvx.spec import Precision

FORMAT = Format(
    name="web",
    title="edgecvx engine in browsers",
    kind="native",
    suffixes=(".ecvx",),
    runtime="native",
    check_note="checked in the engine of this machine; in a browser the page asks the file again before it answers",
    options="edgecvx.export.web.lower:WebOptions",
    check_request="edgecvx.export.web.lower:check_request",
    check_folder="edgecvx.web.folder:check",
    beside="edgecvx.web.folder:complete",
    extra="native",
    tools=("ziglang",),
    floats=(),  # no phone runs FP32 in a browser: the engine has none, and the download would be four times as large
    schemes={Precision.INT8: INT8},
    logits_alone="its engine ends with the classifier",
    note="any browser with WebAssembly SIMD: Safari 16.4, Chrome 91, Firefox 89; not run on a phone",
)
