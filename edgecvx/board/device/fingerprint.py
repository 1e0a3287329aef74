"""Which device this is, as far as it tells: the values of ``latency.Fingerprint``."""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import re
import socket
import sys
from pathlib import Path
from typing import Any

from edgecvx.board.device import memory
from edgecvx.board.device.files import ROOT, command, cpuinfo, number, sysctl, text
from edgecvx.board.device.processors import cpu_features, cpu_name

_DMI = "sys/class/dmi/id/"
_MEMORY_STEP = 1 << 28
"""A kernel's own share of the memory changes a little from update to update; the device stays the same."""

_HYPERVISORS = {
    "kvm": "KVM",
    "qemu": "QEMU",
    "vmware": "VMware",
    "virtualbox": "VirtualBox",
    "innotek": "VirtualBox",
    "xen": "Xen",
    "amazon ec2": "Amazon EC2",
    "google compute engine": "Google Compute Engine",
    "microsoft corporation virtual machine": "Hyper-V",
    "parallels": "Parallels",
    "bochs": "Bochs",
    "firecracker": "Firecracker",
    "openstack": "OpenStack",
    "apple virtualization": "Apple Virtualization",
}
"""Words in what the firmware tells about itself -> who made it."""


def fingerprint(root: Path = ROOT) -> dict[str, Any]:
    """Everything but the name, which is the host's to give."""
    board, cpu, size = board_name(root), cpu_name(root), _memory(root)
    emulator = emulated(root)
    return {
        "id": identity(root, board, cpu, size, emulator),
        "hostname": socket.gethostname() or None,
        "board": board or sysctl(root, "hw.model"),
        "soc": soc_name(root),
        "cpu": cpu,
        "machine": platform.machine(),
        "cores": usable_cores(root),
        "memory_bytes": size,
        "os": os_name(root),
        "kernel": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "numpy": installed("numpy"),
        "features": cpu_features(root),
        "emulated": emulator,
        "virtual": virtual(root),
        "facts": facts(root),
    }


def identity(root: Path, board: str | None, cpu: str | None, size: int | None, emulator: str | None) -> str:
    """The same for this device and no other. A hash: the serial number that makes it so stays on the device."""
    blocks = cpuinfo(root)
    serial = (
        text(root, "proc/device-tree/serial-number")
        or text(root, "sys/firmware/devicetree/base/serial-number")
        or (blocks[-1].get("Serial") if blocks else None)
        or text(root, "etc/machine-id")
        or sysctl(root, "kern.uuid")
        or socket.gethostname()
    )
    steps = None if size is None else round(size / _MEMORY_STEP)
    facts = ["edgecvx device", serial, board, cpu, steps, emulator]
    return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]


def board_name(root: Path) -> str | None:
    """The board by its own name."""
    for path in ("proc/device-tree/model", "sys/firmware/devicetree/base/model"):
        if (found := text(root, path)) is not None:
            return found
    product = text(root, _DMI + "product_name")
    if product is not None:
        maker = text(root, _DMI + "sys_vendor")
        return product if maker is None or product.startswith(maker) else f"{maker} {product}"
    blocks = cpuinfo(root)
    return blocks[-1].get("Model") if blocks else None


def soc_name(root: Path) -> str | None:
    """The chip around the cores: the last and most general name in the device tree, or the kernel's own for it."""
    compatible = text(root, "proc/device-tree/compatible") or text(root, "sys/firmware/devicetree/base/compatible")
    if compatible:
        return compatible.split()[-1]
    parts = (text(root, f"sys/devices/soc0/{name}") for name in ("family", "machine", "soc_id"))
    return " ".join(part for part in parts if part) or None


def usable_cores(root: Path) -> int | None:
    """Processors that this process may use: those it may run on, or the control group's quota where that is less."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota = cpu_quota(root)
    if allowed is None or quota is None:
        return allowed
    return min(allowed, max(1, int(quota)))


def cpu_quota(root: Path) -> float | None:
    """How many processors' time the control group gets; None where it is not limited."""
    limit = (text(root, "sys/fs/cgroup/cpu.max") or "").split()
    if len(limit) == 2 and limit[0] != "max":
        return int(limit[0]) / int(limit[1])
    quota, period = (number(root, f"sys/fs/cgroup/cpu/cpu.cfs_{what}_us") for what in ("quota", "period"))
    return quota / period if quota is not None and quota > 0 and period else None


def os_name(root: Path) -> str | None:
    """``Debian GNU/Linux 12 (bookworm)``."""
    if root == ROOT and sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    for path in ("etc/os-release", "usr/lib/os-release"):
        found = re.search(r'^PRETTY_NAME="?([^"\n]+)', text(root, path) or "", re.MULTILINE)
        if found:
            return found[1]
    return None


def emulated(root: Path) -> str | None:
    """The emulator this process runs in, where it gives itself away; None on a real processor.

    What an emulator of one process cannot hide: it writes /proc/self/stat itself and does not know the memory the
    process takes, where a kernel's process always takes some; it is the program that really runs, seen through a
    thread's entries; and the processors in /proc/cpuinfo may be another machine's altogether.
    """
    if _stat_has_no_memory(root) or _runs_in_qemu(root):
        return "qemu"
    blocks = cpuinfo(root)
    names = {block.get("model name", "") for block in blocks}
    if any("VirtualApple" in name for name in names) or sysctl(root, "sysctl.proc_translated") == "1":
        return "rosetta"
    if any("QEMU TCG" in name for name in names):
        return "qemu"
    is_arm = platform.machine().lower() in ("aarch64", "arm64", "armv7l", "armv6l")
    if root == ROOT and is_arm and any("vendor_id" in block for block in blocks):
        return "qemu"
    return None


def _stat_has_no_memory(root: Path) -> bool:
    """Whether the kernel seems to say that this very process has no memory mapped at all."""
    found = text(root, "proc/self/stat")
    fields = found.rpartition(")")[2].split() if found else []
    return len(fields) > _VIRTUAL_SIZE and fields[_VIRTUAL_SIZE] == "0"


_VIRTUAL_SIZE = 20
"""The position of ``vsize``, the 23rd value of /proc/self/stat, behind the name in brackets."""


def _runs_in_qemu(root: Path) -> bool:
    try:
        program = (root / "proc/thread-self/exe").resolve(strict=False).name
    except OSError:
        return False
    return program.startswith("qemu-")


def virtual(root: Path) -> str | None:
    """The hypervisor's name, or that there is one; None where nothing tells of any."""
    vendors = " ".join(
        found.lower()
        for name in ("sys_vendor", "product_name", "bios_vendor", "board_vendor", "chassis_vendor")
        if (found := text(root, _DMI + name)) is not None
    )
    for words, name in _HYPERVISORS.items():
        if words in vendors:
            return name
    kind = text(root, "sys/hypervisor/type")
    if kind is not None:
        return kind
    tree = text(root, "proc/device-tree/hypervisor/compatible") or text(root, "proc/device-tree/compatible") or ""
    if "linux,kvm" in tree:
        return "KVM"
    if "linux,dummy-virt" in tree:
        return "QEMU"
    flags = " ".join(block.get("flags", "") for block in cpuinfo(root)).split()
    return "unnamed hypervisor" if "hypervisor" in flags else None


def facts(root: Path) -> dict[str, str]:
    """What else a board tells, that changes times: its firmware, a Jetson's release, the kernel's own settings."""
    found = {
        "Jetson release": (text(root, "etc/nv_tegra_release") or "").partition("\n")[0].strip(" #"),
        "firmware": (command(root, ["vcgencmd", "version"]) or "").replace("\n", ", "),
        "cpu quota": "" if (quota := cpu_quota(root)) is None else f"{quota:g} processors",
        "boost": {"0": "off", "1": "on"}.get(text(root, "sys/devices/system/cpu/cpufreq/boost") or "", ""),
        "smt": text(root, "sys/devices/system/cpu/smt/control") or "",
        "isolated processors": text(root, "sys/devices/system/cpu/isolated") or "",
    }
    return {name: value for name, value in found.items() if value}


def _memory(root: Path) -> int | None:
    size = memory.total(root) or sysctl(root, "hw.memsize")
    return None if size is None else int(size)


def installed(distribution: str) -> str | None:
    """The version of an installed package, without importing it."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None
