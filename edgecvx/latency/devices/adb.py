"""A phone behind ``adb://SERIAL``: LiteRT's own ``benchmark_model`` measures TFLite files there.

Phones have no Python, so the tool does the timing and tells means, not single runs. The binary for the phone's
processor comes from the user. The files take turns (A B, B A, …) as everywhere, one call of the tool a turn.

Not run on a phone: tested against an ``adb`` that plays recorded output.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shlex
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from edgecvx.board import PROTOCOL
from edgecvx.board.device.processors import kind_of
from edgecvx.board.proof import Proof
from edgecvx.board.runner.order import runs_of_turn
from edgecvx.errors import DeviceError, Page, UsageError, about
from edgecvx.latency.devices import android, benchmark_model
from edgecvx.latency.devices.base import longest_silence
from edgecvx.latency.devices.collect import Collector
from edgecvx.latency.devices.job import Job, place
from edgecvx.latency.devices.lease import held_by, holder
from edgecvx.latency.devices.programs import Stopped, complete, last_line, program
from edgecvx.spec import from_json, to_json

BINARY_VARIABLE = "EDGECVX_ANDROID_BENCHMARK"
"""The environment variable that names the binary where no option does."""
_FOLDER = "/data/local/tmp/edgecvx-"
_TOOL = "benchmark_model"
_SERIAL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,99}")
_STEP, _COPY = 60.0, 600.0
_LEASE = (
    "f=/data/local/tmp/edgecvx-lease; b=$f-beat; umask 0; exec 9>>$f || exit 3; command -v flock >/dev/null || "
    """{ echo '{"event": "refused", "text": "it has no flock; Android 8 and newer have"}'; exit 3; }; """
    """until flock -n 9; do echo '{"event": "busy", "text": "'"$(cat $f)"'"}' || exit; sleep 1; done; """
    """echo "HOLDER since $(date -u +%H:%M) UTC" >$f; echo '{"event": "held", "text": ""}'; """
    "( exec 9>&-; n=0; while sleep 5; do kill -0 $$ || exit; n=$((n+5)); [ -e $b ] && n=0; rm -f $b; "
    "[ $n -lt 60 ] || kill -9 $$; done ) </dev/null >/dev/null 2>&1 & while read -r _; do : >$b; done; rm -f $b"
)
"""Holds a phone: a lock that the system lets go when the shell ends, which it does with its standard input, and after
a minute without a sign of life where that is cut and nobody tells."""
_UNQUOTED = re.compile(r"[^A-Za-z0-9@._() -]")
_MACHINES = {183: "arm64-v8a", 40: "armeabi-v7a", 62: "x86_64", 3: "x86"}
"""The number of a processor in a program's header -> Android's name for it."""
_STATES = {
    "unauthorized": "it does not trust this machine yet: unlock it and allow USB debugging",
    "offline": "it is offline: plug it in again, or `adb reconnect`",
    "not found": "adb does not see it: `adb devices` lists those it sees",
    "no permissions": "this user may not open its USB port: see `adb devices -l`",
}


@about(Page.PHONES)
def open_device(text: str, *, python: str | None = None, adb_benchmark: str | None = None) -> AdbDevice:
    """The phone of this serial number; nothing is connected yet.

    Args:
        text: ``adb://SERIAL``, as ``adb devices`` lists it.
        python: A phone has none that could measure.
        adb_benchmark: The path of ``benchmark_model`` for Android; None for what EDGECVX_ANDROID_BENCHMARK names.

    Raises:
        UsageError: The serial number is none, or no binary is named.
    """
    serial = text.removeprefix("adb://").removesuffix("/")
    if serial == text or not _SERIAL.fullmatch(serial):
        raise UsageError(f"{text!r} is no phone: write adb://SERIAL, as `adb devices` lists it")
    named = adb_benchmark or os.environ.get(BINARY_VARIABLE)
    if not named:
        raise UsageError(
            f"{text} needs LiteRT's benchmark_model for Android: download or build it, "
            f"and name it with --adb-benchmark FILE or {BINARY_VARIABLE}"
        )
    return AdbDevice(text, serial, Path(named))


class AdbDevice:
    """A phone behind adb."""

    def __init__(self, name: str, serial: str, binary: Path) -> None:
        """Remembers where the phone is.

        Args:
            name: As the user wrote it.
            serial: As adb calls it.
            binary: LiteRT's ``benchmark_model`` for its processor.
        """
        self.name = name
        self._serial, self._binary = serial, binary

    def measure(self, job: Job, collector: Collector, *, stop: threading.Event) -> None:
        """Carries out what of a job a phone can do; see ``devices.base.Device``."""
        machine = self._machine()
        phone = _Phone(self.name, self._serial, stop)
        try:
            phone.check()
            answers = phone.ask(android.QUESTIONS)
            self._check_machine(machine, android.abi(answers))
            collector.add({"event": "hello", "protocol": PROTOCOL})
            fingerprint = android.fingerprint(answers, self._serial)
            collector.add({"event": "fingerprint", "fingerprint": fingerprint})
            collector.add({"event": "before", "conditions": android.conditions(phone.ask(android.MOMENT))})
            with self._leased(phone, job, collector, stop), phone.folder() as folder:
                _Turns(phone, folder, job, collector, _kind(fingerprint)).run(self._binary)
            collector.add({"event": "after", "conditions": android.conditions(phone.ask(android.MOMENT))})
            collector.add({"event": "done"})
        except Stopped:
            return

    def _leased(
        self, phone: _Phone, job: Job, collector: Collector, stop: threading.Event
    ) -> AbstractContextManager[None]:
        """The phone, for us alone; the fingerprint before it costs next to nothing."""
        process = phone.start(_LEASE.replace("HOLDER", _UNQUOTED.sub("", holder())))
        return held_by(process, device=self.name, limit=job.wait_seconds, tell=collector.waits_for, stop=stop)

    def _machine(self) -> str | None:
        """Which processor the binary is for."""
        try:
            with self._binary.open("rb") as stream:
                header = stream.read(20)
        except OSError as error:
            raise DeviceError(f"{self.name}: {self._binary} cannot be read: {error.strerror}") from error
        if len(header) < 20 or header[:4] != b"\x7fELF":
            raise DeviceError(f"{self.name}: {self._binary.name} is no program for Android (it is no ELF file)")
        return _MACHINES.get(int.from_bytes(header[18:20], "little"))

    def _check_machine(self, machine: str | None, abi: str | None) -> None:
        both = {machine, abi}
        older = both == {"arm64-v8a", "armeabi-v7a"} and abi == "arm64-v8a"  # runs there, if slower
        if machine is not None and abi is not None and machine != abi and not older:
            raise DeviceError(f"{self.name}: {self._binary.name} is for {machine}, the phone is {abi}")


class _Turns:
    """One job on its way: the order of calls, and what is told of each."""

    def __init__(self, phone: _Phone, folder: str, job: Job, collector: Collector, kind: str | None) -> None:
        self._phone, self._folder, self._job, self._collector = phone, folder, job, collector
        self._kind = kind
        """The phone's class of processors."""
        self._alive: list[Mapping[str, Any]] = []
        self._rounds: dict[str, list[benchmark_model.Round]] = {}

    def run(self, binary: Path) -> None:
        order = self._job.order
        for artifact in order["artifacts"]:
            self._admit(artifact)
        if not self._alive:
            return
        self._phone.push(binary, f"{self._folder}/{_TOOL}")
        for artifact in self._alive:
            self._phone.push(self._job.files[artifact["path"]], f"{self._folder}/{artifact['id']}.tflite")
        self._phone.shell(f"chmod 700 {self._folder}/{_TOOL}")
        if order["memory"]:
            for artifact in tuple(self._alive):
                self._memory(artifact)
        for number in range(order["rounds"]):
            for artifact in tuple(self._alive) if number % 2 == 0 else tuple(reversed(self._alive)):
                self._turn(artifact, number)
            self._collector.add({"event": "round", "round": number + 1, "of": order["rounds"]})

    def _admit(self, artifact: Mapping[str, Any]) -> None:
        """Takes what the tool can open, and says of the others why not."""
        order = self._job.order
        options = dict(artifact.get("options", {}))
        sentence = None
        if artifact["runtime"] != "tflite":
            sentence = f"a phone behind adb measures .tflite files alone, not those of {artifact['runtime']}"
        elif options.get("delegate", "xnnpack") not in ("xnnpack", "none") or set(options) - {"delegate"}:
            sentence = f"benchmark_model has no option {', '.join(sorted(options))}; delegate=none and xnnpack it has"
        if sentence is not None:
            self._collector.add({"event": "error", "id": artifact["id"], "sentence": sentence})
            return
        self._alive.append(artifact)
        for kind, asked in (("end_to_end", order["end_to_end"]), ("sustained", order["sustained_minutes"])):
            if asked:
                note = f"benchmark_model on a phone measures no {kind.replace('_', ' ')} times"
                self._collector.add({"event": "note", "id": artifact["id"], "kind": kind, "sentence": note})

    def _memory(self, artifact: Mapping[str, Any]) -> None:
        found = self._call(artifact, runs=3, seconds=None, memory=True)
        if found is not None:
            self._collector.add({"event": "memory", "id": artifact["id"], "memory": to_json(found.memory)})

    def _turn(self, artifact: Mapping[str, Any], number: int) -> None:
        order = self._job.order
        runs = runs_of_turn(order["runs"], order["rounds"], number)
        seconds = None if order["seconds"] is None else order["seconds"] / order["rounds"]
        found = self._call(artifact, runs=runs or 1, seconds=seconds)
        if found is None:
            return
        gathered = self._rounds.setdefault(artifact["id"], [])
        gathered.append(found)
        if len(gathered) == 1:
            opened = {"runtime_version": None, "backend": found.backend, "arithmetic": None}
            times = {"load_ns": max(1, round(found.load * 1e3)), "first_ns": max(1, round(found.first * 1e3))}
            proof = {"recheck": self._recheck(artifact)}
            self._collector.add({"event": "opened", "id": artifact["id"], **opened, **times, **proof})
        timings = to_json(benchmark_model.summarize(gathered))
        self._collector.add({"event": "told", "id": artifact["id"], "told": timings})

    def _recheck(self, artifact: Mapping[str, Any]) -> dict[str, Any] | None:
        """That a file could not be asked again: the tool takes no pictures and tells no answers."""
        proved, options = artifact.get("proved"), artifact.get("options", {})
        proof = None if proved is None else from_json(Proof, proved["proof"])
        if proof is None or proof.holds(self._kind, artifact["runtime"], options):
            return None
        return {"here": proof.here(self._kind, artifact["runtime"], options), "error": None}

    def _call(
        self, artifact: Mapping[str, Any], *, runs: int, seconds: float | None, memory: bool = False
    ) -> benchmark_model.Round | None:
        """One call of the tool; where it fails, the artifact is out, and None."""
        words = benchmark_model.command(
            f"{self._folder}/{_TOOL}",
            f"{self._folder}/{artifact['id']}.tflite",
            threads=artifact["threads"],
            runs=runs,
            seconds=seconds,
            xnnpack=artifact.get("options", {}).get("delegate") != "none",
            memory=memory,
        )
        # The tool's number lies in the folder while it runs, so that a stopped benchmark also stops there.
        inner = f"echo $$ >{self._folder}/pid; exec {shlex.join(words)}"
        script = f"sh -c {shlex.quote(inner)}; r=$?; rm -f {self._folder}/pid; (exit $r)"
        code, text = self._phone.shell(script, limit=longest_silence(self._job) + _STEP, check=False)
        try:
            if code != 0:
                raise DeviceError(f"benchmark_model ended with exit code {code}: {last_line(text)}")
            return benchmark_model.parse(text)
        except DeviceError as error:
            self._alive = [a for a in self._alive if a["id"] != artifact["id"]]
            self._collector.add({"event": "error", "id": artifact["id"], "sentence": str(error)})
            return None


def _kind(fingerprint: Mapping[str, Any]) -> str | None:
    """A phone's class of processors."""
    features = fingerprint["features"]
    return None if features is None else kind_of(features, arm="86" not in fingerprint["machine"])


class _Phone:
    """The system's adb, and one phone."""

    def __init__(self, name: str, serial: str, stop: threading.Event) -> None:
        self._name, self._stop = name, stop
        self._adb = [program("adb", name, "Android's platform tools"), "-s", serial]

    def check(self) -> None:
        """Raises DeviceError where the phone does not answer."""
        code, out, err = self._run(["get-state"], _STEP)
        if code == 0 and out.split()[-1:] == ["device"]:  # old versions say on the way that they start another server
            return
        text = out + err
        for sign, sentence in _STATES.items():
            if sign in text:
                raise DeviceError(f"{self._name}: {sentence}")
        raise DeviceError(f"{self._name} is not ready: {last_line(text) or 'adb said nothing'}")

    def ask(self, questions: Mapping[str, str]) -> dict[str, str]:
        """Runs commands; what the phone does not let a shell read is not in the answer."""
        answers = {}
        for name, command in questions.items():
            code, text = self.shell(f"{command} 2>/dev/null", check=False)
            if code == 0:
                answers[name] = text
        return answers

    def shell(self, script: str, *, limit: float = _STEP, check: bool = True) -> tuple[int, str]:
        """Runs a line of shell; its exit code, told by itself since old phones' adb has none, and what it printed."""
        mark = f"edgecvx-{secrets.token_hex(8)}"
        _, text, err = self._run(["shell", f"{{ {script}; }} 2>&1; echo {mark}$?"], limit)
        printed, found, code = text.replace("\r\n", "\n").rpartition(mark)
        if not found or not re.fullmatch(r"[0-9]{1,3}", code.strip()):
            self.check()
            raise DeviceError(f"{self._name}: the phone gave no answer: {last_line(text + err) or 'adb said nothing'}")
        if check and int(code) != 0:
            raise DeviceError(f"{self._name}: {last_line(printed) or f'a command ended with exit code {int(code)}'}")
        return int(code), printed

    def start(self, script: str) -> subprocess.Popen[bytes]:
        """Starts a line of shell whose standard input is ours for as long as it runs."""
        return subprocess.Popen(
            [*self._adb, "shell", script],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for this process, which then gives the phone back
        )

    def push(self, content: Path | bytes, target: str) -> None:
        """Copies a file under a name made up here, whatever the user calls it."""
        with tempfile.TemporaryDirectory(prefix="edgecvx-") as temporary:
            source = Path(temporary) / "file"
            place(content, source)
            code, out, err = self._run(["push", str(source), target], _COPY)
        if code != 0:
            text = out + err
            full = "; it is full" if "No space left" in text else ""
            raise DeviceError(f"{self._name}: a file could not be copied there{full}: {last_line(text)}")

    @contextlib.contextmanager
    def folder(self) -> Iterator[str]:
        """A folder on the phone, removed in any case, with what still runs in it."""
        folder = _FOLDER + secrets.token_hex(6)
        self.shell(f"mkdir -m 700 {folder}")
        try:
            yield folder
        finally:
            # Also after Ctrl-C; a phone that is gone is no second error.
            tidy = _Phone(self._name, self._adb[-1], threading.Event())
            with contextlib.suppress(DeviceError):
                tidy.shell(f"[ -f {folder}/pid ] && kill $(cat {folder}/pid); rm -rf {folder}", check=False)

    def _run(self, words: Sequence[str], limit: float) -> tuple[int, str, str]:
        """One call of adb: its exit code, what the phone printed, and what adb itself said."""
        done = complete([*self._adb, *words], device=self._name, stop=self._stop, limit=limit)
        return done.code, _without_daemon(done.out), _without_daemon(done.err)


def _without_daemon(text: str) -> str:
    """What adb says of its own server is said before everything else, by old versions among the answers."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("* daemon"))
