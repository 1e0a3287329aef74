"""What is read about boards, from trees with the files that such boards have."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from waiting import PATIENCE

from edgecvx.board.device import conditions as moment
from edgecvx.board.device import fingerprint as board
from edgecvx.board.device import memory
from edgecvx.board.device.files import ROOT, command
from edgecvx.board.device.processors import cpu_features, cpu_name
from edgecvx.results.latency import Conditions, Fingerprint
from edgecvx.spec import from_json

STAT = "2042 (python3) S 1 2042 2042 34816 2042 4194304 1213 0 0 0 7 1 0 0 20 0 1 0 5034 15532032 2501 184467440 1"


def arm(part: str, cores: int, features: str, tail: str = "") -> str:
    block = (
        "processor\t: {n}\nBogoMIPS\t: 108.00\nFeatures\t: " + features + "\nCPU implementer\t: 0x41\n"
        "CPU architecture: 8\nCPU variant\t: 0x4\nCPU part\t: " + part + "\nCPU revision\t: 1\n\n"
    )
    return "".join(block.format(n=n) for n in range(cores)) + tail


def cpufreq(cores: int, now: int, most: int, governor: str) -> dict[str, str]:
    folder = "sys/devices/system/cpu/cpu{}/cpufreq/{}"
    return {
        folder.format(n, name): f"{value}\n"
        for n in range(cores)
        for name, value in (
            ("scaling_cur_freq", now),
            ("cpuinfo_max_freq", most),
            ("scaling_governor", governor),
        )
    }


PI_4 = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/device-tree/compatible": "raspberrypi,4-model-b\0brcm,bcm2711\0",
    "proc/device-tree/serial-number": "10000000abcdef01\0",
    "proc/cpuinfo": arm(
        "0xd08",
        4,
        "fp asimd evtstrm crc32 cpuid",
        "Revision\t: c03114\nSerial\t\t: 10000000abcdef01\nModel\t\t: Raspberry Pi 4 Model B Rev 1.4\n",
    ),
    "proc/meminfo": "MemTotal:        3886456 kB\nMemFree:         2899664 kB\nMemAvailable:    3408000 kB\n",
    "proc/loadavg": "0.08 0.03 0.01 1/160 2042\n",
    "proc/self/stat": STAT,
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "etc/os-release": 'NAME="Debian GNU/Linux"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
    "sys/class/thermal/thermal_zone0/temp": "48199\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "50005\n",
    **cpufreq(4, 600000, 1800000, "ondemand"),
}
PI_5 = {
    **PI_4,
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/device-tree/compatible": "raspberrypi,5-model-b\0brcm,bcm2712\0",
    "proc/cpuinfo": arm(
        "0xd0b", 4, "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp"
    ),
    "sys/class/thermal/cooling_device0/type": "pwm-fan\n",
    "sys/class/thermal/cooling_device0/cur_state": "2\n",
    "sys/devices/platform/soc/soc:firmware/get_throttled": "0\n",
    **cpufreq(4, 2400000, 2400000, "performance"),
}
JETSON = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/device-tree/compatible": "nvidia,p3768-0000+p3767-0005\0nvidia,p3767-0005\0nvidia,tegra234\0",
    "proc/device-tree/serial-number": "1421122000000\0",
    "proc/cpuinfo": arm(
        "0xd42", 6, "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm asimddp"
    ),
    "proc/meminfo": "MemTotal:        7802380 kB\nMemAvailable:    5408000 kB\n",
    "proc/self/stat": STAT,
    "etc/nv_tegra_release": "# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic\n# KERNEL_VARIANT: oot\n",
    "etc/os-release": 'PRETTY_NAME="Ubuntu 22.04.4 LTS"\n',
    "sys/class/thermal/thermal_zone0/temp": "46000\n",
    "sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
    "sys/class/thermal/thermal_zone1/temp": "-256000\n",
    "sys/class/thermal/thermal_zone1/type": "gpu-thermal\n",
    "sys/class/thermal/thermal_zone2/temp": "47500\n",
    "sys/class/thermal/thermal_zone2/type": "tj-thermal\n",
    "sys/class/thermal/cooling_device1/type": "cpufreq-cpu0\n",
    "sys/class/thermal/cooling_device1/cur_state": "3\n",
    "sys/class/thermal/cooling_device1/max_state": "19\n",
    "sys/devices/soc0/family": "Tegra\n",
    "sys/devices/soc0/soc_id": "35\n",
    **cpufreq(6, 1510400, 1510400, "schedutil"),
}
VM = {
    "proc/cpuinfo": "".join(
        f"processor\t: {n}\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) Platinum 8488C\n"
        "cpu MHz\t\t: 2400.000\n"
        "flags\t\t: fpu sse4_1 fma avx avx2 f16c hypervisor avx512f avx512bw avx512vl avx512_vnni amx_tile amx_int8\n\n"
        for n in range(2)
    ),
    "proc/meminfo": "MemTotal:        4030000 kB\nMemAvailable:    3000000 kB\n",
    "proc/self/stat": STAT,
    "etc/machine-id": "ec2d1f0d1f0d1f0d1f0d1f0d1f0d1f0d\n",
    "sys/class/dmi/id/sys_vendor": "QEMU\n",
    "sys/class/dmi/id/product_name": "Standard PC (Q35 + ICH9, 2009)\n",
    "sys/fs/cgroup/cpu.max": "150000 100000\n",
    "sys/fs/cgroup/memory.max": "2000000000\n",
    "sys/fs/cgroup/memory.current": "1500000000\n",
    "sys/fs/cgroup/memory.stat": "anon 1000\ninactive_file 300000000\n",
}


def tree(root: Path, files: Mapping[str, str]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return root


def described(root: Path) -> Fingerprint:
    """The fingerprint as it arrives at the host."""
    return from_json(Fingerprint, {**json.loads(json.dumps(board.fingerprint(root))), "name": "local"})


def state_of(root: Path) -> Conditions:
    return from_json(Conditions, json.loads(json.dumps(moment.conditions(root))))


def test_a_raspberry_pi_4(tmp_path: Path) -> None:
    root = tree(tmp_path, PI_4)
    found = described(root)
    assert found.board == "Raspberry Pi 4 Model B Rev 1.4"
    assert (found.soc, found.cpu) == ("brcm,bcm2711", "Cortex-A72")
    assert found.memory_bytes == 3886456 * 1024
    assert found.os == "Debian GNU/Linux 12 (bookworm)"
    assert found.features == ("asimd",)
    assert found.emulated is None
    assert found.virtual is None
    state = state_of(root)
    assert state.governor == "ondemand"
    assert state.mhz == (600.0,) * 4
    assert state.mhz_max == (1800.0,) * 4
    assert state.celsius == {"cpu-thermal": 48.199}
    assert state.throttled == (
        "under-voltage now",
        "throttled now",
        "under-voltage since boot",
        "throttled since boot",
    )
    assert state.load == 0.08
    assert state.memory_available_bytes == 3408000 * 1024


def test_a_raspberry_pi_5_that_nothing_holds_back(tmp_path: Path) -> None:
    root = tree(tmp_path, PI_5)
    assert cpu_name(root) == "Cortex-A76"
    assert cpu_features(root) == ("asimd", "asimddp", "asimdhp", "fphp")
    assert moment.throttled(root) == ()  # its fan that turns is no limit
    assert board.soc_name(root) == "brcm,bcm2712"


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("throttled=0x0", ()),
        ("throttled=0x80008", ("soft temperature limit now", "soft temperature limit since boot")),
        ("throttled=0x20002", ("clock capped now", "clock capped since boot")),
    ],
)
def test_the_firmware_is_asked_before_its_file(
    told: str, words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answers(_: Path, words: Sequence[str]) -> str | None:
        return told if list(words) == ["vcgencmd", "get_throttled"] else None

    monkeypatch.setattr(moment, "command", answers)
    assert moment.throttled(tree(tmp_path, PI_4)) == words


def test_a_jetson(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tree(tmp_path, JETSON)
    found = described(root)
    assert found.board == "NVIDIA Jetson Orin Nano Developer Kit"
    assert (found.soc, found.cpu) == ("nvidia,tegra234", "Cortex-A78AE")
    assert found.facts["Jetson release"].startswith("R36 (release), REVISION: 3.0")
    # A sensor of a unit that is switched off is none.
    assert moment.temperatures(root) == {"cpu-thermal": 46.0, "tj-thermal": 47.5}
    assert moment.hottest(root) == 47.5
    assert moment.fastest_mhz(root) == 1510.4
    assert moment.throttled(root) == ("cpufreq-cpu0 limits the clock, step 3 of 19",)
    monkeypatch.setattr(moment, "command", lambda _, words: "NV Power Mode: 15W\n0" if words[0] == "nvpmodel" else None)
    assert moment.power_mode(root) == "15W"


def test_a_virtual_machine_with_a_limit(tmp_path: Path) -> None:
    root = tree(tmp_path, VM)
    found = described(root)
    assert found.board == "QEMU Standard PC (Q35 + ICH9, 2009)"
    assert found.cpu == "Intel(R) Xeon(R) Platinum 8488C"
    assert found.virtual == "QEMU"
    assert found.emulated is None  # a hypervisor lets the processor itself run
    assert found.features is not None
    assert {"avx512_vnni", "amx_int8"} <= set(found.features)
    assert found.cores == 1  # 1.5 processors' time
    assert found.facts["cpu quota"] == "1.5 processors"
    state = moment.conditions(root)
    assert state["mhz"] is None  # the nominal clock is not the one now
    assert memory.available(root) == 800_000_000


def test_what_nobody_tells_is_unknown(tmp_path: Path) -> None:
    found = described(tmp_path)
    unknown = (found.board, found.soc, found.cpu, found.memory_bytes, found.os, found.features, found.virtual)
    assert set(unknown) == {None}
    assert found.facts == {}
    state = state_of(tmp_path)
    told = (state.governor, state.mhz, state.celsius, state.throttled, state.power_mode, state.memory_available_bytes)
    assert set(told) == {None}


def test_a_core_that_nobody_here_knows_keeps_its_number(tmp_path: Path) -> None:
    mixed = arm("0xd05", 1, "fp asimd") + arm("0xfff", 1, "fp asimd")
    assert cpu_name(tree(tmp_path, {"proc/cpuinfo": mixed})) == "Cortex-A55 + 0x41/0xfff"


def test_the_id_is_the_devices_and_tells_nothing(tmp_path: Path) -> None:
    one = board.fingerprint(tree(tmp_path / "one", PI_4))["id"]
    assert board.fingerprint(tree(tmp_path / "again", {**PI_4, "etc/machine-id": "new\n"}))["id"] == one
    # A kernel that keeps a little more for itself makes no other device.
    smaller = {**PI_4, "proc/meminfo": PI_4["proc/meminfo"].replace("3886456", "3885000")}
    assert board.fingerprint(tree(tmp_path / "smaller", smaller))["id"] == one
    other = {**PI_4, "proc/device-tree/serial-number": "10000000abcdef02\0"}
    assert board.fingerprint(tree(tmp_path / "other", other))["id"] != one
    assert "abcdef" not in str(board.fingerprint(tmp_path / "one"))


# Emulators.


@pytest.mark.parametrize(
    ("changes", "emulator"),
    [
        ({"proc/self/stat": "2042 (python3) 0 2035" + " 0" * 40}, "qemu"),
        ({"proc/self/stat": "2042 (py (thon) 3) R 2035" + " 0" * 40}, "qemu"),
        ({"proc/cpuinfo": "vendor_id : VirtualApple\nmodel name : VirtualApple @ 2.50GHz\n"}, "rosetta"),
        ({"proc/cpuinfo": "vendor_id : AuthenticAMD\nmodel name : QEMU TCG CPU version 2.5+\n"}, "qemu"),
        ({}, None),
    ],
)
def test_an_emulator_gives_itself_away(changes: dict[str, str], emulator: str | None, tmp_path: Path) -> None:
    root = tree(tmp_path, {**PI_5, **changes})
    assert board.emulated(root) == emulator
    assert (board.fingerprint(root)["emulated"] is None) == (emulator is None)


def test_an_emulator_is_seen_through_a_threads_program(tmp_path: Path) -> None:
    root = tree(tmp_path, PI_5)
    (root / "proc/thread-self").mkdir()
    (root / "proc/thread-self/exe").symlink_to("/usr/bin/qemu-aarch64-static")
    assert board.emulated(root) == "qemu"


def test_this_processor_is_real() -> None:
    assert board.emulated(ROOT) is None


def test_other_commands_are_never_asked_about_another_tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecvx.board.device.files._PATIENCE", PATIENCE)
    assert command(tmp_path, [sys.executable, "-c", "print(1)"]) is None
    assert command(ROOT, [sys.executable, "-c", "print(1)"]) == "1"
    assert command(ROOT, [sys.executable, "-c", "import sys; sys.exit('no')"]) is None
    assert command(ROOT, ["edgecvx-no-such-command"]) is None
