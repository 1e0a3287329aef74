"""Which file to ship: variants, sizes, precisions, targets and threads, within limits on loss, time and size.

The name does double duty, as that of ``edgecvx.sweep`` does: ``edgecvx.tune`` is this package, and
``edgecvx.tune("femto", target="onnx", …)`` is the call of the Python API.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from edgecvx.tune.tune import tune

        return tune(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
