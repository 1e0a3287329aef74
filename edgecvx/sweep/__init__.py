"""Models x targets x precisions x sizes x calibrations x data x devices, as one graph of jobs that can be stopped.

The name does double duty, as that of ``edgecvx.export`` does: ``edgecvx.sweep`` is this package, and
``edgecvx.sweep("recipe.toml")`` is the call of the Python API.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from edgecvx.sweep.run import sweep

        return sweep(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
