"""Another processor is one: programs see it, what is missing for it is said, and what cannot be played is refused."""

from __future__ import annotations

import subprocess
from pathlib import Path

import emulated
import pytest
from emulated import PROCESSORS, THIS, EmulationError, Processor, Way, hiding_library, run, why_not

KIND = """
import subprocess, sys
from edgecvx.board.device.processors import this_processor
print(this_processor().kind)
child = "from edgecvx.board.device.processors import this_processor; print(this_processor().kind)"
print(subprocess.run([sys.executable, "-c", child], capture_output=True, text=True, check=True).stdout.strip())
"""
FEATURES = """
from numpy._core._multiarray_umath import __cpu_features__ as features
print(*(name for name, there in features.items() if there))
"""
HIDDEN = {
    "SSE4.2": ({"SSE42"}, {"AVX", "AVX2", "FMA3", "AVX512F", "AVX512VNNI"}),
    "AVX2": ({"AVX2", "FMA3"}, {"AVX512F", "AVX512VNNI", "GFNI"}),
    "AVX-VNNI": ({"AVX2", "FMA3"}, {"AVX512F", "AVX512VNNI"}),
    "AVX-512": ({"AVX2", "AVX512_SKX"}, {"AVX512VNNI", "AVX512VBMI", "AVX512_SPR"}),
    "AVX512-VNNI": ({"AVX512_SKX", "AVX512VNNI"}, {"AVX512FP16", "AVX512_SPR"}),
}
"""What numpy, which asks CPUID, finds and does not find in a hidden class."""


def available(processor: Processor) -> Processor:
    if reason := why_not(processor):
        pytest.skip(reason)
    return processor


def hidden(kind: str) -> Processor:
    return available(next(p for p in PROCESSORS if (p.way, p.name) == (Way.HIDDEN, kind)))


def program(folder: Path, text: str) -> Path:
    path = folder / "program.py"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("processor", PROCESSORS, ids=str)
def test_a_program_sees_the_processor(processor: Processor, tmp_path: Path) -> None:
    kind, childs = run(available(processor), program(tmp_path, KIND)).splitlines()
    assert kind == processor.kind
    if processor.way is not Way.QEMU:  # whose children run on the real one
        assert childs == processor.kind


@pytest.mark.parametrize("kind", HIDDEN)
def test_cpuid_has_what_the_class_has(kind: str, tmp_path: Path) -> None:
    found = set(run(hidden(kind), program(tmp_path, FEATURES)).split())
    there, absent = HIDDEN[kind]
    assert there <= found
    assert not absent & found


def test_a_class_beyond_the_processor_is_refused() -> None:
    """Asked of a Haswell, which is emulated: there is no VNNI to leave. It lets nothing fault either."""
    available(next(p for p in PROCESSORS if p.name == "Haswell"))
    hidden("AVX2")
    done = {}
    for kind in ("AVX512-VNNI", "AVX2"):
        command = ["qemu-x86_64", "-cpu", "Haswell", "-E", f"LD_PRELOAD={hiding_library()}"]
        command += ["-E", f"EDGECVX_PROCESSOR={kind}", "/bin/true"]
        done[kind] = subprocess.run(command, capture_output=True, text=True, check=False)
    assert [d.returncode for d in done.values()] == [emulated.CANNOT, emulated.CANNOT]
    assert done["AVX512-VNNI"].stderr.endswith("hide: this processor is less than AVX512-VNNI\n")
    assert done["AVX2"].stderr.endswith("hide: this processor does not let CPUID fault, so it is no AVX2\n")


def test_a_class_nobody_knows_is_an_error_and_no_skip() -> None:
    hidden("AVX2")
    with pytest.raises(EmulationError, match="nobody here knows a class of processors 486"):
        why_not(Processor(name="486", way=Way.HIDDEN, kind="486"))


def test_a_crash_stays_a_crash(tmp_path: Path) -> None:
    """CPUID is executed in a handler of the signal that crashes; both handlers get their own."""
    text = "import faulthandler, ctypes\nfaulthandler.enable()\nimport numpy\nctypes.string_at(0)\n"
    with pytest.raises(EmulationError, match=r"(?s)ended with -11 on AVX2.*Segmentation fault.*string_at"):
        run(hidden("AVX2"), program(tmp_path, text))


def test_without_a_class_nothing_is_hidden() -> None:
    hidden("SSE4.2")
    real = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    environment = {"LD_PRELOAD": str(hiding_library())}
    seen = subprocess.run(["/bin/cat", "/proc/cpuinfo"], env=environment, capture_output=True, text=True, check=True)
    assert [w for w in seen.stdout.split() if "avx" in w] == [w for w in real.split() if "avx" in w]


def test_a_program_that_fails_tells_why(tmp_path: Path) -> None:
    with pytest.raises(EmulationError, match=r"(?s)program\.py ended with 3 on this machine:\nfor a reason"):
        run(THIS, program(tmp_path, "import sys\nprint('for a reason', file=sys.stderr)\nsys.exit(3)\n"))


def test_what_is_missing_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(emulated, "BOARD", tmp_path)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    reasons = {processor.way: why_not.__wrapped__(processor) for processor in PROCESSORS}
    assert reasons == {
        Way.QEMU: "qemu-x86_64 is not installed: apt-get install qemu-user",
        Way.HIDDEN: "gcc is not installed, which builds hide.c",
        Way.BOARD: f"there is no Arm board in {tmp_path}: make board",
    }
    assert why_not.__wrapped__(THIS) is None
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert why_not.__wrapped__(PROCESSORS[0]) == "this machine is no x86-64 with Linux"
