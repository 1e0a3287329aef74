"""The engine as a worker calls it, in Node: its answers, its threads, its memory, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import native_programs as programs
import numpy as np
import pytest
from ecvx_networks import image_of, random_description
from native_engine import Engine
from node import NODE, run_node
from PIL import Image
from web_sites import KERNELS
from web_sites import engine as wasm

from edgecvx.board import pictures
from edgecvx.export.native.writer import write
from edgecvx.spec import InputKind, PreprocessSpec, Task

pytestmark = pytest.mark.skipif(NODE is None, reason="no node in the path")

NEAR = 0.9999
"""Cosine between two sets of kernels of one network in INT8, whose rounding differs in a step here and there."""
CLASSIFIER = random_description(
    5, task=Task.CLASSIFY, classes=37, labelled=True, size=64, batch=1, input_kind=InputKind.FLOAT, taps=0, integers=1.0
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both builds of the engine, a classifier, and three pictures for it."""
    pytest.importorskip("ziglang")
    folder = tmp_path_factory.mktemp("engine")
    (folder / "wasm32").write_bytes(wasm())
    (folder / "threads").write_bytes(wasm("wasm32-threads"))
    (folder / "a.ecvx").write_bytes(write(CLASSIFIER))
    image_of(CLASSIFIER, 5, pictures=3).tofile(folder / "input")
    return folder


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a.ravel() @ b.ravel() / np.linalg.norm(a) / np.linalg.norm(b))


RUN = """
const made = await engine(WASM), model = made.open(read("a.ecvx"), OPTIONS);
write("answer", model.run(floats("input"), 3)[0]);
say({ info: model.info, kernels: made.kernels(), version: made.version });
"""


def answered(folder: Path, wasm: str = "wasm32", options: str = "{}") -> np.ndarray:
    run_node(RUN.replace("WASM", f'"{wasm}"').replace("OPTIONS", options), folder)
    return np.fromfile(folder / "answer", np.float32).reshape(3, -1)


def test_it_answers_what_the_engine_answers_elsewhere(folder: Path, tmp_path: Path) -> None:
    if not programs.here():
        pytest.skip("there is no C compiler")
    images = image_of(CLASSIFIER, 5, pictures=3)
    (portable,) = Engine(programs.library(*programs.PLAIN)).answer(write(CLASSIFIER), images)
    for kernels in ("simd128", "simd128bytes"):
        assert cosine(answered(folder, options=f'{{ kernels: "{kernels}" }}'), portable) > NEAR
    wrong = programs.broken(tmp_path, "path_portable.h", "+ (a >> 16) *", "+ (a >> 17) *")
    (broken,) = Engine(programs.library(*programs.PLAIN, folder=wrong)).answer(write(CLASSIFIER), images)
    assert cosine(answered(folder), broken) < NEAR


def test_a_model_says_what_it_is(folder: Path) -> None:
    found = run_node(RUN.replace("WASM", '"wasm32"').replace("OPTIONS", "{}"), folder)
    info = found["info"]
    assert (found["version"], found["kernels"]) == (1, ["simd128", "simd128bytes"])
    assert (info["name"], info["license"], info["kernels"]) == (CLASSIFIER.name, "Apache-2.0", KERNELS)
    assert info["input"] == {"name": "image", "type": "float32", "shape": [1, 64, 64, 3]}
    assert info["outputs"] == [{"name": "logits", "shape": [1, 37]}]
    assert info["labels"] == list(CLASSIFIER.labels)
    assert info["weightBytes"] > 0 and info["arenaBytes"] > 0 and 0.5 < info["int8Macs"] < 1


def test_any_number_of_threads_gives_the_same_bits_and_all_of_them_end(folder: Path) -> None:
    script = """
      const answers = [];
      for (const [wasm, threads] of [["wasm32", 1], ["threads", 1], ["threads", 2], ["threads", 3]]) {
        const made = await engine(wasm, threads), model = made.open(read("a.ecvx"));
        for (let again = 0; again < 20; again++) model.run(floats("input").slice(0, 64 * 64 * 3));
        const other = made.open(read("a.ecvx"), { threads: 1 }); // beside it, with fewer
        const answer = [...model.run(floats("input"), 3)[0]];
        answers.push(answer.join() === [...other.run(floats("input"), 3)[0]].join() ? answer : null);
        made.close();
      }
      while (ended.threads < 3) await new Promise((resolve) => setTimeout(resolve, 10));
      say(answers);
    """
    one, *more = run_node(script, folder)
    assert len(one) == 3 * 37 and len(set(one)) > 30
    assert more == [one] * 3


SIZES = [(1, 1), (7, 3), (301, 203), (64, 64), (2, 500), (65, 63)]


@pytest.mark.parametrize("resize", ["shortest", "squash"])
def test_a_picture_is_prepared_as_pillow_prepares_it(tmp_path: Path, folder: Path, resize: str) -> None:
    draw = np.random.default_rng(1)
    spec = PreprocessSpec(size=64, crop_pct=0.875, resize=resize)  # type: ignore[arg-type]
    frames = [draw.integers(0, 256, (height, width, 3), np.uint8) for width, height in SIZES]
    (tmp_path / "a.ecvx").write_bytes(write(dataclasses.replace(CLASSIFIER, preprocess=spec)))
    (tmp_path / "wasm32").write_bytes((folder / "wasm32").read_bytes())
    for index, frame in enumerate(frames):
        frame.tofile(tmp_path / f"{index}")
    script = f"""
      const model = (await engine("wasm32")).open(read("a.ecvx"));
      for (const [index, [width, height]] of {[list(size) for size in SIZES]}.entries()) {{
        const rgb = read(String(index));
        write(`${{index}}.input`, model.preprocess(rgb, width, height));
        write(`${{index}}.answer`, model.classify(rgb, width, height).outputs[0]);
        write(`${{index}}.again`, model.run(model.preprocess(rgb, width, height))[0]);
      }}
      say(null);
    """
    run_node(script, tmp_path)
    for index, frame in enumerate(frames):
        wanted = pictures.normalize(pictures.resize_and_crop(Image.fromarray(frame), spec), spec)
        got = np.fromfile(tmp_path / f"{index}.input", np.float32)
        assert got.tobytes() == wanted.tobytes(), SIZES[index]
        assert (tmp_path / f"{index}.answer").read_bytes() == (tmp_path / f"{index}.again").read_bytes()
    assert got.tobytes() != pictures.normalize(np.asarray(Image.fromarray(frame).resize((64, 64))), spec).tobytes()


def test_bytes_go_in_as_bytes(tmp_path: Path, folder: Path) -> None:
    described = random_description(6, size=64, input_kind=InputKind.UINT8, task=Task.EMBED, batch=1)
    described = dataclasses.replace(described, preprocess=PreprocessSpec(size=64, crop_pct=1.0))
    (tmp_path / "a.ecvx").write_bytes(write(described))
    (tmp_path / "wasm32").write_bytes((folder / "wasm32").read_bytes())
    image = image_of(described, 6, pictures=1)
    image.tofile(tmp_path / "input")
    script = """
      const model = (await engine("wasm32")).open(read("a.ecvx")), rgb = new Uint8Array(read("input"));
      const input = model.preprocess(rgb, 64, 64);
      say({ type: input.constructor.name, same: Buffer.from(input).equals(rgb), input: model.info.input.type,
            outputs: model.run(input).length, wrong: await refusal(() => model.run(new Float32Array(input))) });
    """
    found = run_node(script, tmp_path)
    assert (found["type"], found["same"], found["input"]) == ("Uint8Array", True, "uint8")
    assert found["outputs"] == 1 + len(described.taps)
    assert found["wrong"] == "the model takes uint8 1 x 64 x 64 x 3, not 12288 of Float32Array"


def test_memory_stays_as_it_is_and_a_larger_picture_does_no_harm(folder: Path) -> None:
    script = """
      const made = await engine("wasm32"), model = made.open(read("a.ecvx"));
      const frame = Uint8Array.from({ length: 320 * 240 * 3 }, (_, i) => (i * 7) % 251), seen = new Set();
      const first = model.classify(frame, 320, 240).outputs[0].join();
      const same = () => model.classify(frame, 320, 240).outputs[0].join() === first;
      for (let run = 0; run < 200; run++) seen.add(`${same()} ${made.memoryBytes}`);
      const before = made.memoryBytes;
      model.classify(new Uint8Array(4000 * 3000 * 3), 4000, 3000); // memory grows: other views
      const after = same();
      made.open(read("a.ecvx")).close();
      const grown = made.memoryBytes;
      for (let again = 0; again < 20; again++) made.open(read("a.ecvx")).close();
      say({ seen: [...seen], before, grown, after, reopened: made.memoryBytes });
    """
    found = run_node(script, folder)
    assert found["seen"] == [f"true {found['before']}"]
    assert found["grown"] > found["before"] + 30_000_000 and found["after"] and found["reopened"] == found["grown"]


REFUSED = """
  const made = await engine("wasm32"), file = read("a.ecvx"), model = made.open(file), closed = made.open(file);
  closed.close();
  closed.close();
  const damaged = Uint8Array.from(file);
  damaged[damaged.length >> 1] ^= 1;
  say({
    damaged: await refusal(() => made.open(damaged)),
    empty: await refusal(() => made.open(new Uint8Array())),
    kernels: await refusal(() => made.open(file, { kernels: "avx2" })),
    threads: await refusal(() => made.open(file, { threads: 2 })),
    single: await refusal(() => engine("wasm32", 2)),
    closed: await refusal(() => closed.run(floats("input").slice(0, 64 * 64 * 3))),
    short: await refusal(() => model.run(floats("input"))),
    picture: await refusal(() => model.classify(new Uint8Array(10), 2, 2)),
    none: await refusal(() => model.classify(new Uint8Array(0), 0, 5)),
    alien: await refusal(() => engine("alien")),
    fine: model.run(floats("input").slice(0, 64 * 64 * 3))[0].length,
  });
"""


def test_what_is_wrong_is_said_in_a_sentence(folder: Path) -> None:
    (folder / "alien").write_bytes(b"\0asm\1\0\0\0")
    found = run_node(REFUSED, folder)
    assert found["damaged"] == "the model is damaged: its checksum is another"
    assert found["empty"] == "the file is no model of edgecvx"
    assert found["kernels"] == "there are no kernels of this name for this processor"
    assert found["threads"] == "this engine was made for 1 threads, not for 2"
    assert found["single"] == "this build of the engine runs in one thread, not 2: take wasm32-threads"
    assert found["closed"] == "this model is closed: open it again"
    assert found["short"] == "the model takes float32 1 x 64 x 64 x 3, not 36864 of Float32Array"
    assert found["picture"] == "a picture of 2 x 2 pixels has 12 bytes of RGB, not 10"
    assert found["none"] == "a picture of 0 x 5 pixels is none"
    assert found["alien"] == "this is version undefined of the engine, not 1: take the one that came with this page"
    assert found["fine"] == 37
