"""The state the device is in now: the values of ``latency.Conditions``."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from edgecvx.board.device import memory
from edgecvx.board.device.files import ROOT, command, cpuinfo, number, numbered, text

_CPUS = "sys/devices/system/cpu/cpu[0-9]*"
_PI = "sys/devices/platform/soc*/soc*firmware/get_throttled"
_PI_BITS = {
    0: "under-voltage now",
    1: "clock capped now",
    2: "throttled now",
    3: "soft temperature limit now",
    16: "under-voltage since boot",
    17: "clock capped since boot",
    18: "throttled since boot",
    19: "soft temperature limit since boot",
}
"""Bits of a Raspberry Pi's ``get_throttled``."""


def conditions(root: Path = ROOT) -> dict[str, Any]:
    """Everything that changes from minute to minute and moves a time with it."""
    sensors = temperatures(root)
    return {
        "at": datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),  # Python 3.9
        "governor": governor(root),
        "mhz": clocks(root),
        "mhz_max": _clocks_of(root, "cpuinfo_max_freq"),
        "celsius": sensors,
        "throttled": throttled(root),
        "power_mode": power_mode(root),
        "load": _load(root),
        "memory_available_bytes": memory.available(root),
    }


def hottest(root: Path = ROOT) -> float | None:
    """The hottest sensor, in degrees Celsius."""
    return max((temperatures(root) or {}).values(), default=None)


def fastest_mhz(root: Path = ROOT) -> float | None:
    """The clock of the fastest core."""
    return max(clocks(root) or (), default=None)


def governor(root: Path) -> str | None:
    """``performance``; several, joined with commas, where cores differ."""
    found = {text(root, f"{cpu}/cpufreq/scaling_governor") for cpu in numbered(root, _CPUS)} - {None}
    return ",".join(sorted(str(name) for name in found)) or None


def clocks(root: Path) -> tuple[float, ...] | None:
    """The clock of each core, in MHz."""
    found = _clocks_of(root, "scaling_cur_freq")
    if found is not None:
        return found
    # Without counters for it, x86 kernels print the nominal clock there, which says nothing about now.
    measured = [block["cpu MHz"] for block in cpuinfo(root) if "aperfmperf" in block.get("flags", "").split()]
    return tuple(float(mhz) for mhz in measured) or None


def temperatures(root: Path) -> dict[str, float] | None:
    """Degrees Celsius by sensor."""
    found: dict[str, float] = {}
    for zone in numbered(root, "sys/class/thermal/thermal_zone[0-9]*"):
        value = number(root, f"{zone}/temp")
        # A sensor that is switched off reads as far below zero, or fails.
        if value is not None and value > -40_000:
            name = text(root, f"{zone}/type") or zone.name
            found[name if name not in found else f"{name} ({zone.name})"] = value / 1000
    if not found:
        found = _hwmon(root)
    return found or None


def throttled(root: Path) -> tuple[str, ...] | None:
    """What holds the clock back, in words; empty where nothing does, None where nothing would tell."""
    words: list[str] = []
    heard = False
    bits = _pi_bits(root)
    if bits is not None:
        heard = True
        words += [word for bit, word in _PI_BITS.items() if bits >> bit & 1]
    for device in numbered(root, "sys/class/thermal/cooling_device[0-9]*"):
        kind, state = text(root, f"{device}/type") or "", number(root, f"{device}/cur_state")
        if state is None or not ("cpufreq" in kind or "cpu-" in kind or kind == "Processor"):
            continue
        heard = True
        if state > 0:
            words.append(f"{kind} limits the clock, step {state:.0f} of {number(root, f'{device}/max_state') or 0:.0f}")
    for cpu in numbered(root, _CPUS)[:1]:
        count = number(root, f"{cpu}/thermal_throttle/package_throttle_count")
        if count is not None:
            heard = True
            words += [f"throttled {count:.0f} times since boot"] if count else []
    return tuple(words) if heard else None


def power_mode(root: Path) -> str | None:
    """A Jetson's: ``MAXN``, ``15W``."""
    for line in (command(root, ["nvpmodel", "-q"]) or "").splitlines():
        if line.startswith("NV Power Mode:"):
            return line.partition(":")[2].strip() or None
    return None


def _pi_bits(root: Path) -> int | None:
    bits: str | None = (command(root, ["vcgencmd", "get_throttled"]) or "").partition("throttled=")[2]
    for path in [] if bits else root.glob(_PI):
        bits = text(root, str(path.relative_to(root)))
    try:
        return int(bits, 16) if bits else None
    except ValueError:
        return None


def _clocks_of(root: Path, name: str) -> tuple[float, ...] | None:
    found = [number(root, f"{cpu}/cpufreq/{name}") for cpu in numbered(root, _CPUS)]
    return tuple(khz / 1000 for khz in found if khz is not None) or None


def _hwmon(root: Path) -> dict[str, float]:
    """The sensors of desktop processors, which are no thermal zones."""
    found: dict[str, float] = {}
    for chip in numbered(root, "sys/class/hwmon/hwmon[0-9]*"):
        name = text(root, f"{chip}/name")
        if name not in ("k10temp", "coretemp", "cpu_thermal", "zenpower"):
            continue
        for sensor in sorted((root / chip).glob("temp*_input")):
            value = number(root, str(sensor.relative_to(root)))
            if value is not None:
                label = text(root, f"{chip}/{sensor.name.replace('_input', '_label')}") or sensor.name.split("_")[0]
                found[f"{name} {label}"] = value / 1000
    return found


def _load(root: Path) -> float | None:
    averages = text(root, "proc/loadavg")
    if averages is not None:
        return float(averages.split()[0])
    return os.getloadavg()[0] if root == ROOT and hasattr(os, "getloadavg") else None
