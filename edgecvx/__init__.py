"""edgecvx: from a ConvNeXt V2 checkpoint to a proven file for every edge runtime.

``edgecvx.export(...)`` writes artifacts, ``edgecvx.load(...)`` opens one, ``edgecvx.validate(...)`` says how much worse
than FP32 PyTorch they are, ``edgecvx.benchmark(...)`` how long they take, ``edgecvx.sweep(...)`` does all of it for
everything a recipe names, and ``edgecvx.tune(...)`` finds the one to ship. Importing this package loads no framework;
what a call needs is imported when it is called.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["__version__", "benchmark", "export", "load", "sweep", "tune", "validate"]

if TYPE_CHECKING:
    from edgecvx.accuracy.validate import validate as validate
    from edgecvx.latency.bench import benchmark as benchmark
    from edgecvx.pipeline import export as export
    from edgecvx.runtimes.artifact import load as load
    from edgecvx.sweep.run import sweep as sweep
    from edgecvx.tune.tune import tune as tune


def __getattr__(name: str) -> Any:
    if name == "load":
        from edgecvx.runtimes.artifact import load

        return load
    if name == "validate":
        from edgecvx.accuracy.validate import validate

        return validate
    if name == "benchmark":
        from edgecvx.latency.bench import benchmark

        return benchmark
    if name == "export":
        # The folder edgecvx/export/ is the package of the lowerings; it can be called (see its __init__).
        import edgecvx.export

        return edgecvx.export
    if name == "sweep":
        # So can the package of the sweep.
        import edgecvx.sweep

        return edgecvx.sweep
    if name == "tune":
        import edgecvx.tune

        return edgecvx.tune
    raise AttributeError(f"module 'edgecvx' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
