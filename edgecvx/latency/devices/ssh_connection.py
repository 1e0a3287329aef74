"""One connection to a device, through the system's own ``ssh``, and a folder there that lives as long as it.

The connection is held by a shell on the device that makes a temporary folder, tells its name, and then waits for the
end of its standard input. However this side ends (in order, by Ctrl-C, killed, or with the cable pulled), that input
ends, and the shell ends what still runs and removes the folder: nothing here has to be alive for it.

Every command goes through ``sh -c`` in one line without backslashes and exclamation marks, which every login shell
quotes alike, and speaks only POSIX. Its answer begins after a mark, whatever a login script prints before.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import secrets
import select
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgecvx.errors import DeviceError
from edgecvx.latency.devices.base import end
from edgecvx.latency.devices.programs import MOST_SAID, Completed, Stopped, complete, last_line, program
from edgecvx.latency.devices.ssh_address import Address

_LONGEST_SOCKET = 80
"""A socket's path ends at 104 bytes on some systems, and ssh appends 17 of its own while it makes one."""
_PLAIN_PATH = re.compile(r"/[A-Za-z0-9_./+,=@-]+")
_POLL = 0.1

_END = (
    'p=$(cat "$d/pid" 2>/dev/null); '
    'while [ -n "$p" ] && kill -0 "$p" 2>/dev/null; do '
    'n=$((n+1)); case $n in 6) kill "$p";; 12) kill -9 "$p";; 15) break;; esac; sleep 1; done; '
    'rm -rf "$d"'
)
"""Ends the runner whose number lies in the folder, where it does not end by itself, and removes the folder."""
_HOLD = (
    "trap : HUP TERM PIPE; umask 077; "
    'd=$(mktemp -d "${TMPDIR:-/tmp}/edgecvx-XXXXXXXXXX") || exit 3; '
    'echo "$0" >"$d/.edgecvx"; echo "$0$d"; df -Pk "$d"; echo "$0"; cat >/dev/null; n=0; ' + _END
)
_FORGET = f'd=$1; [ "$(cat "$d/.edgecvx" 2>/dev/null)" = "$2" ] || exit 0; n=5; {_END}'
"""No grace: whatever runs there has missed that its host is gone, and would run beside what comes next."""


class ConnectionFailedError(DeviceError):
    """There is no connection, yet or any more: another try may help."""


class HostKeyError(DeviceError):
    """The device is not known, or not the one that was known: another try does not help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long a step may take, in seconds."""

    connect: float = 15.0
    """Until the device answers."""
    step: float = 60.0
    """Small commands, from sending to answer."""
    check: float = 300.0
    """Importing every runtime on a slow board."""
    copy_bytes_per_second: float = 20_000.0
    """The slowest line files are copied over, after a minute of grace."""
    silence: float = 10.0
    """Until a line that carries nothing is asked for a sign of life; after three without an answer it is dead."""
    reconnect: float = 120.0
    """Tries to connect again, all together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Folder:
    """A folder on the device, and the mark in it that says whose it is."""

    path: str
    mark: str

    @property
    def parent(self) -> str:
        """Where it lies: what TMPDIR names there."""
        return self.path.rpartition("/")[0]


class Connection:
    """A connection that is up, and its folder."""

    def __init__(
        self, name: str, address: Address, *, limits: Limits, stop: threading.Event, config: Path | None
    ) -> None:
        """Connects.

        Args:
            name: The device, as the user wrote it, for messages.
            address: Where it is.
            limits: How long everything may take.
            stop: When set, whatever is going on ends.
            config: Instead of the user's ``~/.ssh/config``.

        Raises:
            HostKeyError: The device's key is unknown, or another one.
            ConnectionFailedError: It cannot be reached, or lets nobody in.
        """
        self._name, self._address, self._limits, self._stop, self._config = name, address, limits, stop, config
        self._ssh, self._scp = (program(p, name, "OpenSSH's client") for p in ("ssh", "scp"))
        self._private = tempfile.mkdtemp(prefix="edgecvx-")
        self._said = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the connection
        mark = f"edgecvx-{secrets.token_hex(8)}:"
        socket = f"{self._private}/s"
        usable = len(os.fsencode(socket)) <= _LONGEST_SOCKET and _PLAIN_PATH.fullmatch(socket)
        self._socket = socket if usable else "none"
        self._holder = self._start(_HOLD, mark, master=True, stderr=self._said)
        try:
            self.folder, self.room = self._greet(mark)
        except BaseException:
            self.close(patience=1.0)
            raise

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self, *, patience: float = 20.0) -> None:
        """Ends the connection; the device removes its folder, for which it has ``patience`` seconds before we leave."""
        end(self._holder, patience=patience)
        if self._holder.stdout is not None:
            self._holder.stdout.close()
        self._said.close()
        shutil.rmtree(self._private, ignore_errors=True)

    def is_lost(self, code: int | None) -> bool:
        """Whether the connection broke, after a command ended with ``code``: 255 is ssh's own."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._holder.wait(timeout=1 if code == 255 else 0)
        return code == 255 or self._holder.poll() is not None

    def run(
        self, script: str, *arguments: str, limit: float | None = None, stdin: IO[bytes] | None = None
    ) -> Completed:
        """Runs a line of POSIX shell on the device.

        Args:
            script: The line; it finds its arguments in ``$1``, ``$2``, …
            arguments: Quoted here.
            limit: Seconds; by default those of a small step.
            stdin: What the script reads.

        Raises:
            ConnectionFailedError: The connection broke.
            DeviceError: It took too long, or printed without end.
            Stopped: The benchmark was stopped.
        """
        mark = f"edgecvx-{secrets.token_hex(8)}"
        command = self._command(f'echo "$0"; {script}', mark, arguments)
        done = self._finish(command, limit or self._limits.step, stdin)
        if done.code == 255:
            raise ConnectionFailedError(f"{self._name}: the connection was lost{_because(done.said)}")
        begin = next((i + 1 for i, line in enumerate(done.lines) if line.endswith(mark)), len(done.lines))
        return dataclasses.replace(done, out="\n".join(done.lines[begin:]))

    def copy(self, source: Path, *, limit: float) -> Completed:
        """Copies a folder into that of the device with ``scp``; its exit code tells whether that went well."""
        target = self._address.scp_target(self.folder.path + "/")
        port = () if self._address.port is None else ("-P", str(self._address.port))
        command = [self._scp, "-q", "-r", *self._options(), *port, "--", str(source), target]
        return self._finish(command, limit, None)

    def start(self, script: str, *arguments: str) -> subprocess.Popen[bytes]:
        """Starts a line of shell whose output is read as it comes; returns when it has begun.

        Raises:
            ConnectionFailedError: It did not begin in time.
            Stopped: The benchmark was stopped.
        """
        mark = f"edgecvx-{secrets.token_hex(8)}"
        self._check_alive()
        process = self._start(f'echo "$0"; {script}', mark, *arguments, stderr=subprocess.PIPE)
        try:
            if self._line_with(mark, process, time.monotonic() + self._limits.step) is None:
                raise ConnectionFailedError(f"{self._name}: the connection was lost")
        except BaseException:
            end(process, patience=1.0)
            raise
        return process

    def forget(self, folder: Folder) -> None:
        """Removes the folder of an earlier connection, and ends what still runs in it."""
        self.run(_FORGET, folder.path, folder.mark)

    def _check_alive(self) -> None:
        """A command without the connection would make one of its own, to a folder that is gone."""
        if self._holder.poll() is not None:
            raise ConnectionFailedError(
                f"{self._name}: the connection was lost{_because(last_line(self._last_words()))}"
            )

    def _greet(self, mark: str) -> tuple[Folder, int | None]:
        """Reads what the holding shell tells: its folder, and how much room there is."""
        deadline = time.monotonic() + self._limits.connect + self._limits.step
        first = self._line_with(mark, self._holder, deadline)
        if first is None:
            raise self._refusal()
        path = first.partition(mark)[2]
        if not _PLAIN_PATH.fullmatch(path):
            raise DeviceError(
                f"{self._name}: its temporary folder is {path[:100]!r}; "
                "set TMPDIR there to a path without spaces and signs"
            )
        df: list[str] = []
        while (line := self._line(self._holder, deadline)) is not None and not line.endswith(mark):
            df.append(line)
        return Folder(path=path, mark=mark), free_bytes(df)

    def _refusal(self) -> DeviceError:
        """Why there is no connection."""
        code = self._holder.poll()
        said = self._last_words()
        if code is None:
            return ConnectionFailedError(f"{self._name} did not answer in time")
        if code == 3:
            last = _because(said.splitlines()[-1] if said else "")
            return DeviceError(
                f"{self._name}: no temporary folder can be made there{last}; TMPDIR there names another place"
            )
        if code != 255:
            return DeviceError(
                f"{self._name}: its login shell ran no command (exit code {code}){_because(last_line(said))}; "
                "it must let you run `sh` there"
            )
        return refusal(said, self._name, self._address)

    def _last_words(self) -> str:
        self._said.seek(0)
        return self._said.read(1 << 16).decode(errors="replace")

    def _line_with(self, mark: str, process: subprocess.Popen[bytes], deadline: float) -> str | None:
        """The first line with the mark; None where there is none."""
        size = 0
        while (line := self._line(process, deadline)) is not None and size < MOST_SAID:
            if mark in line:
                return line
            size += len(line)
        return None

    def _line(self, process: subprocess.Popen[bytes], deadline: float) -> str | None:
        """The next line of a process, read byte by byte, so that nothing after it is taken away from others."""
        if process.stdout is None:
            return None
        read = bytearray()
        while time.monotonic() < deadline and len(read) < MOST_SAID:
            if self._stop.is_set():
                raise Stopped
            if not select.select([process.stdout], [], [], _POLL)[0]:
                continue
            byte = os.read(process.stdout.fileno(), 1)
            if not byte:
                # The process is about to end, and its exit code tells why.
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(timeout=5)
                return None
            if byte == b"\n":
                return read.decode(errors="replace").rstrip("\r")
            read += byte
        return None

    def _finish(self, command: Sequence[str], limit: float, stdin: IO[bytes] | None) -> Completed:
        """Runs a local program to its end."""
        self._check_alive()
        return complete(command, device=self._name, stop=self._stop, limit=limit, stdin=stdin, env=environment())

    def _start(
        self, script: str, mark: str, *arguments: str, stderr: int | IO[bytes], master: bool = False
    ) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            self._command(script, mark, arguments, master=master),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=environment(),
            start_new_session=True,  # Ctrl-C is for this process, which then ends the others in order
        )

    def _command(self, script: str, mark: str, arguments: Sequence[str], *, master: bool = False) -> list[str]:
        """The local command that runs a line of shell on the device."""
        remote = shlex.join(["sh", "-c", script, mark, *arguments])
        user = () if self._address.user is None else ("-l", self._address.user)
        port = () if self._address.port is None else ("-p", str(self._address.port))
        return [self._ssh, "-T", *self._options(master=master), *user, *port, "--", self._address.host, remote]

    def _options(self, *, master: bool = False) -> list[str]:
        """What holds whatever the user's configuration says."""
        options = {
            "BatchMode": "yes",  # asks for nothing: no password, no passphrase, no yes
            "StrictHostKeyChecking": "yes",
            "NoHostAuthenticationForLocalhost": "no",
            "UpdateHostKeys": "no",
            "ConnectTimeout": f"{self._limits.connect:.0f}",
            "ConnectionAttempts": "1",
            "ServerAliveInterval": f"{self._limits.silence:.0f}",
            "ServerAliveCountMax": "3",
            "ControlMaster": "yes" if master and self._socket != "none" else "no",
            "ControlPath": self._socket,
            "ControlPersist": "no",
            "LogLevel": "INFO",
            "RemoteCommand": "none",
            "RequestTTY": "no",
            "PermitLocalCommand": "no",
            "ClearAllForwardings": "yes",
            "ForwardAgent": "no",
            "ForwardX11": "no",
        }
        config = [] if self._config is None else ["-F", str(self._config)]
        return config + [word for key, value in options.items() for word in ("-o", f"{key}={value}")]


def environment() -> dict[str, str]:
    """This process's, without the language: messages are read here, and boards lack the locales of others.

    And without a window that asks for a password: that of a jump host on the way does not know of ``BatchMode``.
    """
    kept = {k: v for k, v in os.environ.items() if k not in ("LANG", "LANGUAGE") and not k.startswith("LC_")}
    return {**kept, "LC_ALL": "C", "TERM": "dumb", "SSH_ASKPASS_REQUIRE": "never"}


def free_bytes(df: Sequence[str]) -> int | None:
    """The room ``df -Pk`` tells of; names of file systems and folders may hold spaces."""
    found = re.search(r"\s\d+\s+\d+\s+(\d+)\s+\d+%\s", df[-1]) if df else None
    return int(found.group(1)) * 1024 if found else None


def refusal(said: str, name: str, address: Address) -> DeviceError:
    """What ssh said when it gave up, as one sentence that tells what to do."""
    login = f"ssh {address.login}"
    if "IDENTIFICATION HAS CHANGED" in said:
        return HostKeyError(
            f"{name} shows another host key than the one in known_hosts: it was set up anew, or somebody stands in "
            f"between. If you know why: `ssh-keygen -R '{address.known_as}'`, then `{login}` once"
        )
    if "Host key verification failed" in said:
        return HostKeyError(
            f"{name}: its host key is not in known_hosts; connect by hand once, compare the fingerprint and accept it: "
            f"`{login}`"
        )
    if "Permission denied" in said or "Too many authentication failures" in said:
        return ConnectionFailedError(
            f"{name} accepts none of your keys, and no password is asked for: `ssh-copy-id {address.login}` "
            f"puts one there ({last_line(said)})"
        )
    return ConnectionFailedError(f"{name} cannot be reached{_because(last_line(said))}; try `{login}`")


def _because(said: str) -> str:
    return f": {said}" if said else ""
