"""Where a benchmark runs: this machine, a board behind ssh, a phone behind adb."""

from __future__ import annotations

from edgecvx.errors import UsageError
from edgecvx.latency.devices.base import Device


def open_device(text: str, *, python: str | None = None, adb_benchmark: str | None = None) -> Device:
    """The device of this name: ``local``, ``ssh://user@host[:port]`` or ``adb://SERIAL``. Nothing is connected yet.

    Args:
        text: The name.
        python: The command of its Python; None for ``python3``, or on this machine the one that runs now.
        adb_benchmark: Android: the path of LiteRT's ``benchmark_model`` binary for the phone's processor.

    Raises:
        UsageError: There is no such kind of device.
    """
    scheme, separator, rest = text.partition("://")
    if text == "local":
        from edgecvx.latency.devices.local import LocalDevice

        return LocalDevice(python=python)
    if separator and rest and scheme == "ssh":
        from edgecvx.latency.devices.ssh import SshDevice
        from edgecvx.latency.devices.ssh_address import parse_address

        return SshDevice(text, parse_address(text), python=python)
    if separator and rest and scheme == "adb":
        from edgecvx.latency.devices.adb import open_adb

        return open_adb(text, benchmark=adb_benchmark)
    raise UsageError(f"unknown device {text!r}: it is local, ssh://user@host[:port] or adb://SERIAL")
