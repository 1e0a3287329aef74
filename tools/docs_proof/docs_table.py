"""What is not executed and why, what is filled in, and what is expected of single commands: all that is no rule.

A head is the beginning of a command or of a block, on one page or, with ``EVERYWHERE``, on all. ``faults`` says what is
wrong with these tables: a block that nothing is said of, and a line of a table that no block fits any more.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from docs_blocks import SHOWN, Block, Piece, pieces

EVERYWHERE = "*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """Something said of the pieces that begin so."""

    page: str
    head: str

    def fits(self, piece: Piece) -> bool:
        """Whether it is said of this one."""
        return self.page in (EVERYWHERE, piece.block.page) and piece.text.lstrip().startswith(self.head)


@dataclass(frozen=True, slots=True, kw_only=True)
class Left(Entry):
    """Not executed here."""

    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Quoted(Entry):
    """Executed elsewhere: a test holds that the page shows what it runs."""

    test: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Written(Entry):
    """A file that the reader makes of the block: there before anything is typed."""

    file: str
    by: str = ""
    """What is done with it then, where no command of the page does."""
    opened: str = ""
    """How a browser looks at it, where none is sent to it by a command: a name of ``docs_stand_ins.VISITS``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filled(Entry):
    """What a reader fills in; the head is replaced wherever it stands in a command or in Python."""

    by: str
    why: str

    def fits(self, piece: Piece) -> bool:
        """Whether there is something to fill in."""
        return self.page in (EVERYWHERE, piece.block.page) and self.head in piece.text


@dataclass(frozen=True, slots=True, kw_only=True)
class Given(Entry):
    """What the page takes for granted before a block of Python."""

    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected(Entry):
    """More than exit code 0 is to be said of a command."""

    codes: Collection[int] = (0,)
    why: str = ""
    """Another code is right."""
    visited: str = ""
    """Who comes while it runs: a name of ``docs_stand_ins.VISITS``."""
    leaves: Sequence[str] = field(default=())
    """What is there afterwards, by the page's own words; patterns."""


_INSTALLED = "fetches packages; `make release-proof` installs each extra into a fresh environment"
_SYSTEM = "changes a board: packages, users, units; tests/apps/test_install.py runs the script into a folder"
_GPU = "needs an NVIDIA GPU and TensorRT; the suite runs it against stand-ins that check what is asked of them"
_BOTH_ENDS = "one machine would be both ends of the tunnel, and has the port once"

LEFT = (
    Left(page=EVERYWHERE, head="pip install ", why=_INSTALLED),
    Left(page=EVERYWHERE, head="ssh -L 8080:127.0.0.1:8080 ", why=_BOTH_ENDS),
    Left(page="CONTRIBUTING.md", head="git clone ", why="no address is printed, and the checkout is here already"),
    Left(page="CONTRIBUTING.md", head="make test ", why="is the whole suite, with lint"),
    Left(page="CONTRIBUTING.md", head="apt-get install ", why="installs packages of the system"),
    Left(page="CONTRIBUTING.md", head="make board", why="fetches half a gigabyte of packages for another processor"),
    Left(page="CONTRIBUTING.md", head="make emulated ", why="takes hours of emulators, and the board above"),
    Left(page="README.md", head="make test ", why="is the whole suite, with lint"),
    Left(page="README.md", head="sudo apps/raspberry_pi/install.sh ", why=_SYSTEM),
    Left(page="docs/cluster.md", head="from dask.distributed import Client", why="needs SLURM and dask-jobqueue"),
    Left(page="docs/cluster.md", head="# kubectl apply", why="needs Kubernetes"),
    Left(page="docs/coreml.md", head="let url = Bundle.main", why="Swift for an app that Xcode builds on a Mac"),
    Left(page="docs/devices.md", head="adb devices", why="needs a phone; tests/latency/devices/test_adb.py plays one"),
    Left(page="docs/devices.md", head="edgecvx bench model.tflite --device adb://SERIAL", why="needs a phone"),
    Left(page="docs/notebook.md", head="import timm", why="timm is no dependency, not of the tests either"),
    Left(page="docs/publishing.md", head="hf auth login", why="asks a person for the token of a hub's account"),
    Left(page="docs/releasing.md", head="sigstore verify ", why="asks Sigstore about a release that is out"),
    Left(page="docs/releasing.md", head="gh attestation verify ", why="asks GitHub about a release that is out"),
    Left(page="docs/tensorrt.md", head="edgecvx build-engine ", why=_GPU),
    Left(page="docs/tensorrt.md", head="edgecvx predict convnextv2_femto", why=_GPU),
    Left(page="docs/tensorrt.md", head="edgecvx bench build/*-fp16.tensorrt.onnx", why=_GPU),
    Left(page="docs/tensorrt.md", head="trtexec --onnx=", why=_GPU),
    Left(page="docs/tensorrt.md", head="python3 tensorrt-proof/tensorrt_run.py", why=_GPU),
    Left(page="docs/tutorial.md", head="python -m venv .venv", why=_INSTALLED),
    Left(page="docs/tutorial.md", head=". .venv/bin/activate", why=_INSTALLED),
    Left(page="docs/web.md", head="location /site/", why="settings of nginx, which is not here"),
    Left(page="apps/README.md", head="edgecvx-live model-int8.tflite --source v4l2:", why="needs a USB camera"),
    Left(page="apps/jetson/README.md", head="sudo ", why=_SYSTEM),
    Left(page="apps/jetson/README.md", head="cd /opt/edgecvx-live", why=_SYSTEM),
    Left(page="apps/raspberry_pi/README.md", head="sudo ", why=_SYSTEM),
    Left(page="apps/raspberry_pi/README.md", head="journalctl ", why="needs the service that is not installed here"),
    Left(page="apps/raspberry_pi/README.md", head="edgecvx-live /opt/edgecvx-live/", why="needs a Pi's own camera"),
)
"""Every command and block that cannot run here, and why."""

QUOTED = (
    Quoted(
        page="docs/without-edgecvx.md",
        head='"""An ONNX file without edgecvx',
        test="tests/examples/test_python.py::test_the_page_shows_the_program_that_is_run",
    ),
)

WRITTEN = (
    Written(page="docs/sweep.md", head='name = "birds"', file="birds.toml", by="edgecvx sweep birds.toml --dry-run"),
    Written(page="docs/web.md", head="<!doctype html>", file="mine.html", opened="own page"),
    Written(page="examples/web/README.md", head="<!doctype html>", file="mine.html"),
    Written(
        page="examples/c/README.md",
        head="use std::ffi",
        file="ecvx.rs",
        by="rustc --edition 2021 --crate-type rlib ecvx.rs",
    ),
)

FILLED = (
    Filled(page="docs/cluster.md", head="/etc/edgecvx-cluster", by="$HOME/edgecvx-cluster", why="is root's"),
    Filled(page="docs/cluster.md", head="-cluster head ", by="-cluster 127.0.0.1 ", why="the name of a machine"),
    Filled(page="docs/cluster.md", head="tls://head:8786", by="tls://127.0.0.1:8786", why="the name of a machine"),
    Filled(page="docs/cluster.md", head="/data/val", by="$PWD/val", why="a folder that all machines have"),
    Filled(page="docs/cluster.md", head="/scratch/edgecvx", by="$HOME/scratch", why="a folder that each machine has"),
    Filled(page="docs/cluster.md", head="/tmp/worker.log", by="$HOME/worker.log", why="would be left there"),
    Filled(page="docs/devices.md", head="192.168.1.20", by="127.0.0.1", why="the address of this machine"),
    Filled(page="docs/publishing.md", head="http://tracking:5000", by="tracked", why="a server; `make mlflow-proof`"),
    Filled(page="docs/onnx.md", head="….onnx", by="model.onnx", why="any file"),
    Filled(page="docs/openvino.md", head="….xml", by="model.xml", why="any file"),
)
"""Names of machines behind ssh are not filled in: the stand-in leads each of them to the board on loopback."""

_BATCH = "import numpy\nbatch = numpy.zeros((1, 3, 224, 224), numpy.float32)\n"
GIVEN = (
    Given(
        page="README.md",
        head="result = edgecvx.export(model,",
        code="from transformers import AutoImageProcessor, ConvNextV2ForImageClassification\n"
        'model = ConvNextV2ForImageClassification.from_pretrained("my-flowers")\n'
        'processor = AutoImageProcessor.from_pretrained("my-flowers")\n',
    ),
    Given(page="docs/onnx.md", head="session = onnxruntime", code=f"import onnxruntime\n{_BATCH}"),
    Given(page="docs/openvino.md", head="model = openvino.Core()", code=f"import openvino\n{_BATCH}"),
    Given(page="docs/tune.md", head="tuned = edgecvx.tune(", code="import edgecvx\n"),
    Given(
        page="docs/notebook.md",
        head="with edgecvx.load(",
        code="import numpy\narray = numpy.zeros((80, 60, 3), numpy.uint8)\n",
    ),
    Given(
        page="docs/publishing.md",
        head="from edgecvx.publishing.records",
        code="from pathlib import Path\nimport edgecvx\n"
        'files = [Path("build/convnextv2_femto.femto-224-int8.tflite")]\n'
        'validation = edgecvx.validate(files, data="photos/val", checkpoints=["femto.pth"])\n',
    ),
)

_FEW = "1 is a gate that is undecided, as it may be over so few pictures"
_TIMES = "1 is a limit on time that is broken or undecided, as on a busy machine"
_ENDS = "1 is a search that ends undecided, or with nothing that keeps the limits, as it may on this machine"
EXPECTED = (
    Expected(
        page="CONTRIBUTING.md",
        head="EDGECVX_PROCESSOR=AVX2 ",
        codes=(0, 97),
        why="97 is a processor that does not let its instructions be hidden, as some do not",
    ),
    Expected(page="README.md", head="make demo", leaves=("demo/report.html",)),
    Expected(page="README.md", head="edgecvx validate build/*femto*.tflite --data val/", codes=(0, 1), why=_FEW),
    Expected(page="README.md", head="edgecvx-live ", visited="live page"),
    Expected(page="README.md", head="edgecvx bench site/*.ecvx --device browser", visited="browser"),
    Expected(page="README.md", head="edgecvx report results/", leaves=("results/report.html",)),
    Expected(page="docs/devices.md", head="edgecvx bench model.ecvx --device browser:3", visited="three browsers"),
    Expected(page="docs/devices.md", head="edgecvx bench model.ecvx --device browser ", visited="browser"),
    Expected(page="docs/devices.md", head="edgecvx validate model.ecvx --device browser", visited="browser"),
    Expected(page="docs/latency.md", head="edgecvx bench new.onnx --against", codes=(0, 1), why=_TIMES),
    Expected(
        page="docs/report.md",
        head="edgecvx report results",
        leaves=("results/report.html", "results/report.md", "results/report.csv"),
    ),
    Expected(page="docs/sweep.md", head="edgecvx sweep docs/examples/sweep.toml --out", codes=(0, 1), why=_TIMES),
    Expected(page="docs/publishing.md", head="edgecvx sweep birds.toml", codes=(0, 1), why=_TIMES),
    Expected(page="docs/tune.md", head="edgecvx tune femto atto", codes=(0, 1), why=_ENDS),
    Expected(page="docs/tune.md", head="edgecvx tune mine.pth", codes=(0, 1), why=_ENDS),
    Expected(page="docs/tune.md", head="edgecvx tune old.pth", codes=(0, 1), why=_ENDS),
    Expected(
        page="docs/tune.md",
        head="edgecvx tune atto",
        codes=(0, 1),
        why=_ENDS,
        leaves=("tuned/report.html", "tuned/report.md", "tuned/tune.json", "tuned/stages/*.csv", "tuned/work"),
    ),
    Expected(page="docs/tutorial.md", head="edgecvx validate build/*.tflite", codes=(0, 1), why=_FEW),
    Expected(page="docs/web.md", head="python -m http.server", visited="site"),
    Expected(page="apps/README.md", head="edgecvx-live model-int8.tflite --headless", visited="terminal"),
    Expected(page="apps/README.md", head="edgecvx-live model-int8.tflite   ", visited="live page"),
    Expected(page="apps/README.md", head="edgecvx-live model-fp32.tflite ", visited="live page"),
    Expected(page="apps/README.md", head="edgecvx-live model-int8.ecvx ", visited="live page"),
    Expected(page="examples/web/README.md", head="python -m http.server", visited="example"),
)

ORDER: Mapping[str, Sequence[int]] = {"docs/cluster.md": (2, 3, 1)}
"""Where a page says first what is used, and then how to get it: the order in which its blocks are executed."""

_KNOWN: Mapping[str, Sequence[Entry]] = {
    "LEFT": LEFT,
    "QUOTED": QUOTED,
    "WRITTEN": WRITTEN,
    "FILLED": FILLED,
    "GIVEN": GIVEN,
    "EXPECTED": EXPECTED,
}


def said_of(piece: Piece, table: Sequence[Entry]) -> Entry | None:
    """The first line of a table that fits."""
    return next((entry for entry in table if entry.fits(piece)), None)


def filled(piece: Piece) -> str:
    """A piece as a reader types it, who has filled in what is to be filled in."""
    text = piece.text
    for entry in FILLED:
        if entry.fits(piece):
            text = text.replace(entry.head, entry.by)
    return text


def faults(
    found: Mapping[str, Sequence[Block]],
    presupposed: Collection[str],
    tables: Mapping[str, Sequence[Entry]] = _KNOWN,
) -> list[str]:
    """What is said of no block, and which line of a table is of no block.

    Args:
        found: Page -> its blocks.
        presupposed: The pages of which it is known what they need.
        tables: Those of this file.
    """
    said: list[str] = []
    used: set[tuple[str, int]] = set()
    for page, there in found.items():
        executed = False
        for block in there:
            for piece in pieces(block):
                fitting = {(name, at) for name, table in tables.items() for at, e in enumerate(table) if e.fits(piece)}
                used |= fitting
                names = {name for name, _ in fitting}
                if len(names & {"LEFT", "QUOTED", "WRITTEN"}) > 1 or ("LEFT" in names and "EXPECTED" in names):
                    said.append(f"{block.title}: {piece.head}: {' and '.join(sorted(names))} contradict each other")
                if not (piece.is_command or piece.is_python or names & {"LEFT", "QUOTED", "WRITTEN"}):
                    said.append(f"{block.title} is {block.language}: neither executed nor in a table")
                    continue
                executed |= not names & {"LEFT", "QUOTED"}
        if executed and page not in presupposed:
            said.append(f"{page}: nothing says what it presupposes")
        if not executed and page in presupposed:
            said.append(f"{page}: nothing of it is executed, so that nothing is presupposed")
    said += [f"{page}: what it presupposes is known, and it has no block" for page in presupposed if page not in found]
    said += [
        f"ORDER: {page} has no block {max(numbers)}"
        for page, numbers in ORDER.items()
        if max(numbers) > len(found.get(page, ()))
    ]
    for name, table in tables.items():
        dead = (entry for at, entry in enumerate(table) if (name, at) not in used)
        said += [f"{name}: no block fits {entry.page}: {entry.head}" for entry in dead]
    return said


def is_shown(block: Block) -> bool:
    """Whether it is only looked at."""
    return block.language in SHOWN
