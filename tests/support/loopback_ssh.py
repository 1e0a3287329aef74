"""A real sshd that plays a board: on 127.0.0.1, with keys, users' files and temporary folder of its own.

A listener in this process hands every connection to a fresh ``sshd -i``. So the port is free for certain, a connection
is cut by ending one process, and when the tests are killed nothing goes on listening and every session ends.
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shlex
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psutil
from waiting import wait_until

from edgecvx.latency.devices.ssh_address import Address

SSHD = shutil.which("sshd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"]))

BEGINNING = """
import json, os, shutil, sys, threading, time
folder = os.path.dirname(os.path.abspath(__file__))
def say(**event):
    print(json.dumps(event), flush=True)
if sys.argv[1] == "check":
    say(python="3", ok=True, missing=[], notes=[])
    sys.exit()
"""
"""Of a runner of a few lines, in place of the real one: what it says, and that it could measure."""
_SFTP = ("/usr/lib/openssh/sftp-server", "/usr/libexec/openssh/sftp-server", "/usr/libexec/sftp-server")


class Board:
    """One sshd, and the client's configuration that knows it."""

    def __init__(self, folder: Path, *, settings: str = "", login: str = "", sftp: str | None = None) -> None:
        """Starts to listen.

        Args:
            folder: Where keys, configuration and the board's temporary folder go.
            settings: Lines for sshd's configuration, before all others.
            login: Shell code that runs before every command there, as a login script does.
            sftp: Its sftp server, where it is not the system's.
        """
        self.folder, self.disk = folder, folder / "disk"
        self.disk.mkdir(parents=True)
        for name in ("host", "user"):
            self.new_key(name)
        (folder / "authorized").write_bytes((folder / "user.pub").read_bytes())
        self._configure(settings, login, sftp)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._open: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        """Held where connections come and go: one that is counted is one that can be cut."""
        self.connections = 0
        self.trust()
        self.client = folder / "client_config"
        self.client.write_text(
            f"Host *\n IdentityFile {folder / 'user'}\n IdentitiesOnly yes\n IdentityAgent none\n"
            f" UserKnownHostsFile {folder / 'known_hosts'}\n GlobalKnownHostsFile /dev/null\n"
        )
        if os.geteuid() == 0:
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # sshd insists on it, and only its own service makes it
        threading.Thread(target=self._serve, args=(self._listener,), daemon=True).start()

    def new_key(self, name: str) -> None:
        """Makes a key pair, also in place of one."""
        path = self.folder / name
        for old in (path, path.with_suffix(".pub")):
            old.unlink(missing_ok=True)
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "", "-f", path], check=True)

    def trust(self) -> None:
        """Puts the host's key of today into the client's known_hosts."""
        kind, key = (self.folder / "host.pub").read_text().split()[:2]
        (self.folder / "known_hosts").write_text(f"[127.0.0.1]:{self.port} {kind} {key}\n")

    @property
    def address(self) -> Address:
        return Address(host="127.0.0.1", user=getpass.getuser(), port=self.port)

    @property
    def name(self) -> str:
        return f"ssh://{getpass.getuser()}@127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Ends every connection at once, as a pulled cable or a crashed sshd does."""
        with self._lock:
            while self._open:
                process = self._open.pop()
                for child in _sshd_children(process.pid):
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
                process.kill()
                process.wait()

    def freeze(self) -> None:
        """Lets every connection fall silent, as a lost network does: neither side is told."""
        with self._lock:
            for process in self._open:
                for p in (process.pid, *(child.pid for child in _sshd_children(process.pid))):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(p, signal.SIGSTOP)

    def close(self) -> None:
        """Answers no more."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def wait_until_tidy(self) -> None:
        """Waits until nothing is on the board that was not there before: files, and processes that name its disk."""
        wait_until(lambda: not self._leftovers(), lambda: f"what is left on the board goes away: {self._leftovers()}")

    def _leftovers(self) -> list[str]:
        files = [str(p.relative_to(self.disk)) for p in self.disk.iterdir()]
        return files + [f"process {p.pid}" for p in processes_of(self.disk)]

    def _configure(self, settings: str, login: str, sftp: str | None) -> None:
        script = self.folder / "login"
        script.write_text(f'{login}\neval "$SSH_ORIGINAL_COMMAND"\n')
        sftp = sftp or next((path for path in _SFTP if Path(path).exists()), "internal-sftp")
        lines = [
            settings,
            f"HostKey {self.folder / 'host'}",
            f"AuthorizedKeysFile {self.folder / 'authorized'}",
            f"PidFile {self.folder / 'pid'}",
            f"Subsystem sftp {sftp}",
            f"SetEnv TMPDIR={self.disk} EDGECVX_LEASES={self.folder / 'leases'}",
            *([f"ForceCommand sh {shlex.quote(str(script))}"] if login else []),
            "UsePAM no",
            "StrictModes no",
            "PasswordAuthentication no",
            "KbdInteractiveAuthentication no",
            "PermitRootLogin yes",
            "LoginGraceTime 0",  # a busy machine may take its time
            "LogLevel ERROR",
        ]
        (self.folder / "sshd_config").write_text("\n".join(lines) + "\n")

    def _serve(self, listener: socket.socket) -> None:
        command = [str(SSHD), "-i", "-f", str(self.folder / "sshd_config"), "-E", str(self.folder / "sshd.log")]
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection, self._lock:
                    end = connection.fileno()
                    self._open.append(subprocess.Popen(command, stdin=end, stdout=end, stderr=subprocess.DEVNULL))
                    self.connections += 1


def _sshd_children(pid: int) -> Iterator[psutil.Process]:
    with contextlib.suppress(psutil.NoSuchProcess):
        yield from (p for p in psutil.Process(pid).children(recursive=True) if "sshd" in p.name())


def processes_of(folder: Path) -> list[psutil.Process]:
    """Every process with this folder in its command line."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if any(str(folder) in word for word in process.cmdline()):
                found.append(process)
    return found
