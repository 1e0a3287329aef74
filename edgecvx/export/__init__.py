"""From a torch module to the file of each target.

The name does double duty: ``edgecvx.export`` is this package, and ``edgecvx.export("femto", target="tflite")`` is the
call of the Python API. Python binds a package's name on its parent as soon as anything in it is imported, so a function
of the same name would be there or gone depending on what was imported before; a package that can be called is both,
always.
"""

from __future__ import annotations

import sys
import types
from typing import Any


class _CallablePackage(types.ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        from edgecvx.pipeline import export

        return export(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
