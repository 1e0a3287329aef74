"""What a phone tells about itself: ``latency.Fingerprint`` and ``latency.Conditions``, as JSON has them.

Read from the text of a few of its commands. Phones differ in what they let a shell read: what cannot be read is None.
Not run on a phone: the formats are those of Android's sources and of public logs.
"""

from __future__ import annotations

import datetime
import hashlib
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgecvx.board.device.processors import cpu_features, cpu_name

QUESTIONS: Mapping[str, str] = {
    "props": "getprop",
    "machine": "uname -m",
    "kernel": "uname -sr",
    "cores": "nproc",
    "meminfo": "cat /proc/meminfo",
    "cpuinfo": "cat /proc/cpuinfo",
}
"""What is asked for a fingerprint: a name, and the command on the phone."""
MOMENT: Mapping[str, str] = {
    "governor": "cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor",
    "khz": "cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/scaling_cur_freq",
    "khz_max": "cat /sys/devices/system/cpu/cpu[0-9]*/cpufreq/cpuinfo_max_freq",
    "battery": "dumpsys battery",
    "thermal": "dumpsys thermalservice",
    "load": "cat /proc/loadavg",
    "meminfo": "cat /proc/meminfo",
}
"""What is asked for the conditions."""

_STATUS = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
"""Android's thermal status, by its number."""
_PROP = re.compile(r"^\[([^\]]+)\]: \[(.*)\]\r?$", re.MULTILINE)
_TEMPERATURE = re.compile(r"Temperature\{mValue=(-?[0-9]{1,9}(?:\.[0-9]{1,15})?), mType=(-?[0-9]+), mName=([^,}]+)")
_PLAIN_NUMBER = re.compile(r"[0-9]{1,15}")
_ABSOLUTE_ZERO, _HOTTEST = -40.0, 150.0
"""Sensors that are not there tell values outside these."""


def fingerprint(answers: Mapping[str, str], serial: str) -> dict[str, Any]:
    """Which phone it is, but for the name; the serial number is hashed.

    Args:
        answers: Name -> what the commands of ``QUESTIONS`` printed.
        serial: As adb calls it.
    """
    props = dict(_PROP.findall(answers.get("props", "")))
    board = " ".join(p for p in (props.get("ro.product.manufacturer"), props.get("ro.product.model")) if p) or None
    soc = " ".join(p for p in (props.get("ro.soc.manufacturer"), props.get("ro.soc.model")) if p) or None
    number = props.get("ro.serialno") or serial
    emulator = props.get("ro.kernel.qemu") == "1" or props.get("ro.hardware") in ("ranchu", "goldfish")
    release = props.get("ro.build.version.release")
    cpu, features = _processor(answers.get("cpuinfo", ""))
    identity = repr(["edgecvx device", number, board, soc])
    return {
        "id": hashlib.sha256(identity.encode()).hexdigest()[:16],
        "hostname": None,
        "board": board,
        "soc": soc,
        "cpu": cpu,
        "machine": _line(answers, "machine") or props.get("ro.product.cpu.abi") or "unknown",
        "cores": _number(_line(answers, "cores")),
        "memory_bytes": _kilobytes(answers.get("meminfo", ""), "MemTotal"),
        "os": f"Android {release}" if release else None,
        "kernel": _line(answers, "kernel"),
        "python": None,
        "numpy": None,
        "features": features,
        "emulated": "Android emulator" if emulator else None,
        "virtual": None,
        "facts": {
            name: props[key]
            for name, key in (("hardware", "ro.hardware"), ("build", "ro.build.fingerprint"))
            if props.get(key)
        },
    }


def abi(answers: Mapping[str, str]) -> str | None:
    """``arm64-v8a``, ``armeabi-v7a``, ``x86_64``."""
    return dict(_PROP.findall(answers.get("props", ""))).get("ro.product.cpu.abi")


def conditions(answers: Mapping[str, str]) -> dict[str, Any]:
    """The state the phone is in.

    Args:
        answers: Name -> what the commands of ``MOMENT`` printed.
    """
    governors = list(dict.fromkeys(answers.get("governor", "").split()))
    return {
        "at": datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds"),
        "governor": ",".join(governors) or None,
        "mhz": _megahertz(answers.get("khz", "")),
        "mhz_max": _megahertz(answers.get("khz_max", "")),
        "celsius": _celsius(answers) or None,
        "throttled": _throttled(answers.get("thermal", "")),
        "power_mode": None,
        "load": _load(answers.get("load", "")),
        "memory_available_bytes": _kilobytes(answers.get("meminfo", ""), "MemAvailable"),
    }


def _processor(cpuinfo: str) -> tuple[str | None, list[str] | None]:
    """Name and instructions, read by what reads them on a board."""
    with tempfile.TemporaryDirectory(prefix="edgecvx-") as root:
        (Path(root) / "proc").mkdir()
        (Path(root) / "proc" / "cpuinfo").write_text(cpuinfo, encoding="utf-8")
        features = cpu_features(Path(root))
        return cpu_name(Path(root)), None if features is None else list(features)


def _celsius(answers: Mapping[str, str]) -> dict[str, float]:
    """Temperatures now; the thermal service also lists remembered ones, before a line that says so."""
    thermal = answers.get("thermal", "")
    now = thermal.partition("Current temperatures from HAL")[2] or thermal
    now = now.partition("Current cooling devices")[0]
    found = {name: float(value) for value, _, name in _TEMPERATURE.findall(now)}
    battery = re.search(r"^\s*temperature: ([0-9]{1,9})\b", answers.get("battery", ""), re.MULTILINE)
    if battery is not None:
        found.setdefault("battery", int(battery[1]) / 10)
    return {name: value for name, value in found.items() if _ABSOLUTE_ZERO < value < _HOTTEST}


def _throttled(thermal: str) -> list[str] | None:
    status = re.search(r"Thermal Status: ([0-9]{1,9})\b", thermal)
    if status is None:
        return None
    number = int(status[1])
    if number == 0:
        return []
    return [f"thermal status {_STATUS[number] if number < len(_STATUS) else number}"]


def _megahertz(text: str) -> list[float] | None:
    words = text.split()
    return [int(word) / 1000 for word in words] if words and all(map(_PLAIN_NUMBER.fullmatch, words)) else None


def _load(text: str) -> float | None:
    found = re.match(r"([0-9]{1,9}\.[0-9]{1,9}) ", text)
    return None if found is None else float(found[1])


def _kilobytes(meminfo: str, key: str) -> int | None:
    found = re.search(rf"^{key}:\s+([0-9]{{1,15}}) kB", meminfo, re.MULTILINE)
    return None if found is None else int(found[1]) * 1024


def _line(answers: Mapping[str, str], name: str) -> str | None:
    lines = answers.get(name, "").splitlines()
    return lines[0].strip() or None if lines else None


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and _PLAIN_NUMBER.fullmatch(text) else None
