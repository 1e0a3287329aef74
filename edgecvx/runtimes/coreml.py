"""Core ML: natively on a Mac, elsewhere in the reference executor.

Beside the options of its engine: ``executor``: ``native`` or ``reference``, by default native on a Mac and the
reference executor elsewhere; ``fp16``: ``1`` rounds every float to FP16 (reference executor only).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from types import ModuleType, SimpleNamespace
from typing import Any

from edgecvx.errors import UsageError
from edgecvx.runtimes.mil import KIND

NATIVE = sys.platform == "darwin"
CHECK_NOTE = "" if NATIVE else KIND
"""What a self-check in this runtime should say of itself."""
ENGINE = "coreml" if NATIVE else "coreml's reference executor"
"""What runs a file here, where nothing is said."""
OPTIONS: Mapping[str, Sequence[str]] = {"executor": ("native", "reference"), "fp16": ("0", "1")}


def load(engine: ModuleType, options: Mapping[str, str]) -> Any:
    """What opens a package here.

    Raises:
        UsageError: An option does not go with the executor.
    """
    from edgecvx.export.coreml.importing import import_coremltools
    from edgecvx.runtimes.mil.executor import ReferenceSession

    is_fp16 = options.get("fp16") == "1"
    if options.get("executor", "native" if NATIVE else "reference") == "reference":
        if "compute_units" in options:
            raise UsageError("compute_units only goes with Core ML on a Mac; the reference executor runs on the CPU")
        return SimpleNamespace(open=lambda path, threads, name: ReferenceSession(path, fp16=is_fp16))
    if not NATIVE:
        raise UsageError("Core ML runs on a Mac only; use executor=reference here")
    if is_fp16:
        raise UsageError("fp16=1 only goes with executor=reference; natively the file and the hardware decide")
    import_coremltools()  # without what it drags along, before the engine imports it
    return engine.Runtime(options)


def quiet() -> AbstractContextManager[None]:
    """Holds back what coremltools prints while a package is opened."""
    from edgecvx.export.coreml.importing import quiet

    return quiet()
