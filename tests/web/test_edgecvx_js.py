"""A model on a page: loaded, checked, proved, asked; and refused where anything of it is not what was exported."""

from __future__ import annotations

import dataclasses
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import native_programs as programs
import numpy as np
import pytest
from browsing import Browser, Tab
from ecvx_networks import random_description
from native_engine import Engine
from numpy.typing import NDArray
from PIL import Image
from site_server import POLICY, serve
from web_sites import entry_of, sealed
from web_sites import site as site_with

from edgecvx.board.device.processors import Processor
from edgecvx.board.pictures import normalize, resize_and_crop
from edgecvx.board.proof import Proof, expected
from edgecvx.data.probe import probe_pictures
from edgecvx.export.native.description import Int8Linear
from edgecvx.export.native.writer import write
from edgecvx.native.build import build
from edgecvx.native.platforms import PLATFORMS
from edgecvx.spec import InputKind, Task, to_json

NETWORK = random_description(
    5, task=Task.CLASSIFY, classes=37, labelled=True, size=64, batch=1, input_kind=InputKind.FLOAT, taps=0, integers=1.0
)
PICTURES = [np.random.default_rng(index).integers(0, 256, (203, 301, 3), np.uint8) for index in range(3)]
NEAR = 0.9999
"""Cosine of the answers of two sets of kernels."""
LIMIT = 0.004
"""What an answer may be off by; a step of int8 is rounded another way here and there."""


def here(pictures: NDArray[Any]) -> NDArray[Any]:
    """The network's answers to pictures of its size, from its engine on this machine."""
    if not programs.here():
        pytest.skip("there is no C compiler")
    engine = Engine(programs.library(*programs.PLAIN))
    (logits,) = engine.answer(write(NETWORK), normalize(pictures, NETWORK.preprocess))
    return logits


@pytest.fixture(scope="module")
def site() -> dict[str, bytes]:
    """A site with a network that nobody trained, and three pictures."""
    pytest.importorskip("ziglang")
    logits = here(probe_pictures(64))
    processor = Processor(name="this machine", machine="x86_64", kind="AVX2", instructions=())
    proof = Proof(processor, "native", (expected("logits", logits, logits),))
    manifest = {"target": "web", "model": {"preprocess": to_json(NETWORK.preprocess)}, "proof": to_json(proof)}
    files = site_with("a", write(NETWORK), json.dumps(manifest).encode(), 64, LIMIT, "export it again")
    for index, picture in enumerate(PICTURES):
        stream = io.BytesIO()
        Image.fromarray(picture).save(stream, "PNG")
        files[f"{index}.png"] = stream.getvalue()
    return files


@contextmanager
def page(browser: Browser[Tab], files: dict[str, bytes], isolated: bool = True, **headers: str) -> Iterator[Tab]:
    with serve(files, isolated, headers={"Content-Security-Policy": POLICY, **headers}) as url:
        tab = browser.open(url)
        tab.wait("document.readyState === 'complete'")
        yield tab
        tab.close()


def run(tab: Tab, script: str, options: str = "{}") -> Any:
    """What a script makes of a model; or the sentence it is refused with."""
    return tab.run(f"""(async () => {{
      const {{ load }} = await import("./edgecvx.js");
      const picture = async (name) => (await fetch(name)).blob();
      try {{
        const model = await load("./", {options});
        try {{
          return await (async () => {{ {script} }})();
        }} finally {{
          model.close();
        }}
      }} catch (error) {{
        return error.message;
      }}
    }})()""")


ASKED = """
  const answers = [];
  for (const index of [0, 1, 2]) answers.push(await model.classify(await picture(`${index}.png`), { top: 3 }));
  return {
    answers: answers.map((answer) => ({ ...answer, logits: [...answer.logits] })),
    proof: model.proof, threads: model.threads, checked: model.checked, loadMs: model.loadMs, info: model.info,
    entry: model.entry.name, target: model.manifest.target,
  };
"""


EVERY = """(async () => {
  const { Engine } = await import("./engine.js");
  const bytes = async (name) => new Uint8Array(await (await fetch(name)).arrayBuffer());
  const file = await bytes("fitting.ecvx"), input = new Float32Array((await bytes("input")).buffer), found = {};
  for (const [platform, name] of Object.entries(ENGINES)) {
    const engine = await Engine.create(await bytes(name));
    for (const kernels of engine.kernels()) {
      const model = engine.open(file, { kernels });
      found[`${platform} ${kernels}`] = [...model.run(input, PICTURES)[0]];
    }
  }
  return found;
})()"""


def fitting(value: Any) -> Any:
    """A description whose pairs of weights fit, as a plan makes them; the random ones do not."""
    if isinstance(value, Int8Linear):
        return dataclasses.replace(value, weights=np.clip(value.weights, -64, 64))
    if isinstance(value, tuple):
        return tuple(fitting(each) for each in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    return dataclasses.replace(value, **{f.name: fitting(getattr(value, f.name)) for f in dataclasses.fields(value)})


def test_every_engine_and_all_its_kernels_answer_the_same_bits(either: Browser[Tab], site: dict[str, bytes]) -> None:
    """Also those that multiply bytes as the browser's processor likes to, which weights of a plan leave room for."""
    network = fitting(NETWORK)
    pictures = normalize(probe_pictures(64), NETWORK.preprocess)
    (here,) = Engine(programs.library(*programs.PLAIN)).answer(write(network), pictures)
    files = {**site, "fitting.ecvx": write(network), "input": np.ascontiguousarray(pictures, np.float32).tobytes()}
    engines = {name: file for name, file in entry_of(site)["engines"].items() if not name.endswith("-threads")}
    with page(either, files) as tab:
        found = tab.run(EVERY.replace("ENGINES", json.dumps(engines)).replace("PICTURES", str(len(pictures))))
    assert set(found) == {"wasm32 simd128", "wasm32 simd128bytes", "wasm32-relaxed relaxed", "wasm32-relaxed simd128"}
    for answer in found.values():
        assert np.array_equal(np.reshape(answer, here.shape).astype(np.float32), here)


def test_an_engine_that_takes_a_browsers_bytes_for_signed_answers_something_else(
    browser: Browser[Tab], site: dict[str, bytes], tmp_path: Path
) -> None:
    """Or for unsigned, where the browser is on Arm; so it asks."""
    asked, wrong = "return is_signed ? -128 : is_unsigned ? 0 : 1;", "return is_signed ? 0 : -128;"
    engine = build(PLATFORMS["wasm32-relaxed"], folder=programs.broken(tmp_path, "path_relaxed.h", asked, wrong))
    pictures = normalize(probe_pictures(64), NETWORK.preprocess)
    given = np.ascontiguousarray(pictures, np.float32).tobytes()
    files = {**site, "fitting.ecvx": write(fitting(NETWORK)), "input": given, "broken.wasm": engine}
    with page(browser, files) as tab:
        found = tab.run(EVERY.replace("ENGINES", '{ broken: "broken.wasm" }').replace("PICTURES", str(len(pictures))))
    assert found["broken relaxed"] != found["broken simd128"]


def test_it_answers_what_the_file_answers_here(either: Browser[Tab], site: dict[str, bytes]) -> None:
    with page(either, site) as tab:
        found = run(tab, ASKED)
        assert tab.console == []
    assert (found["entry"], found["target"], found["threads"], found["checked"]) == ("a", "web", 1, True)
    assert found["proof"]["error"] <= found["proof"]["limit"] and found["loadMs"] > found["proof"]["ms"] > 0
    prepared = np.stack([resize_and_crop(Image.fromarray(picture), NETWORK.preprocess) for picture in PICTURES])
    for wanted, answer in zip(here(prepared), found["answers"], strict=True):
        logits, top = np.array(answer["logits"]), answer["top"]
        assert logits @ wanted / np.linalg.norm(logits) / np.linalg.norm(wanted) > NEAR
        assert [one["index"] for one in top] == logits.argsort()[::-1][:3].tolist()
        assert [one["label"] for one in top] == [NETWORK.labels[one["index"]] for one in top]
        odds = np.exp(logits - logits.max())
        assert [one["probability"] for one in top] == pytest.approx(np.sort(odds / odds.sum())[::-1][:3], rel=1e-5)
        assert (answer["width"], answer["height"]) == (301, 203) and min(answer["times"].values()) >= 0


def test_threads_give_the_same_bits_where_the_page_is_isolated(either: Browser[Tab], site: dict[str, bytes]) -> None:
    logits = []
    for isolated, threads, used in ((True, 1, 1), (True, 2, 2), (False, 2, 1)):
        with page(either, site, isolated) as tab:
            found = run(tab, ASKED, f"{{ threads: {threads} }}")
        assert found["threads"] == used
        logits.append([answer["logits"] for answer in found["answers"]])
    assert logits[0] == logits[1] == logits[2]


def test_two_browsers_give_the_same_bits(browser: Browser[Tab], firefox: Browser[Tab], site: dict[str, bytes]) -> None:
    answers = []
    for one in (browser, firefox):
        with page(one, site) as tab:
            answers.append([answer["logits"] for answer in run(tab, ASKED)["answers"]])
    assert answers[0] == answers[1]
    assert answers[0][0] != answers[0][1]


def test_inputs_go_in_and_pictures_come_prepared(either: Browser[Tab], site: dict[str, bytes]) -> None:
    script = """
      const prepared = await model.preprocess(await picture("0.png"));
      const [logits] = await model.run(prepared.input), both = new Float32Array(2 * prepared.input.length);
      both.set(prepared.input);
      const [two] = await model.run(both, 2), bitmap = await createImageBitmap(await picture("0.png"));
      const whole = await model.classify(bitmap);
      await Promise.all([model.classify(bitmap), model.classify(bitmap), model.preprocess(bitmap)]);
      return [logits.join() === whole.logits.join(), two.subarray(0, logits.length).join() === logits.join(),
              prepared.width, whole.top.length, bitmap.width];
    """
    with page(either, site) as tab:
        assert run(tab, script) == [True, True, 301, 5, 301]


def test_a_closed_model_says_so_and_what_cannot_be_read_too(browser: Browser[Tab], site: dict[str, bytes]) -> None:
    said = "const said = async (call) => call().then(() => null, (error) => error.message);"
    with page(browser, site) as tab:
        assert run(tab, f"{said} return said(() => model.classify(new Blob(['x'])));").startswith(
            "the picture cannot be read"
        )
        assert run(tab, f"{said} return said(() => model.run(new Float32Array(3)));").endswith("not 3 of Float32Array")
        again = f"{said} model.close(); return said(() => model.run(new Float32Array(3)));"
        assert run(tab, again) == "this model is closed: load it again"
        stopped = "{ signal: AbortSignal.abort(new Error('no time')) }"
        assert run(tab, "", stopped) == "no time"


def changed(site: dict[str, bytes], name: str, at: int = -1) -> dict[str, bytes]:
    """With one byte of a file another one."""
    content = bytearray(site[name])
    content[at] ^= 1
    return {**site, name: bytes(content)}


@pytest.mark.parametrize("kind", ["file", "engine", "manifest", "probes"])
def test_a_wrong_byte_is_refused_before_anything_is_run(
    either: Browser[Tab], site: dict[str, bytes], kind: str
) -> None:
    entry = entry_of(site)
    name = entry["engines"]["wasm32-relaxed"] if kind == "engine" else entry[kind]
    with page(either, changed(site, name, len(site[name]) // 2)) as tab:
        assert run(tab, "") == f"{name} is not the file that was exported (its SHA-256 is another): copy the site again"


def test_a_wrong_byte_of_a_model_is_refused_where_no_hash_can_be_made_too(
    browser: Browser[Tab], site: dict[str, bytes]
) -> None:
    name = entry_of(site)["file"]
    damaged = changed(site, name, len(site[name]) // 2)
    with page(browser, damaged) as tab:
        tab.run("Object.defineProperty(crypto, 'subtle', { value: undefined })")
        assert run(tab, "") == "the model is damaged: its checksum is another"
    with page(browser, site) as tab:
        tab.run("Object.defineProperty(crypto, 'subtle', { value: undefined })")
        assert run(tab, "return model.checked;") is False


def proof_of(site: dict[str, bytes]) -> tuple[str, dict[str, Any]]:
    name = entry_of(site)["manifest"]
    manifest: dict[str, Any] = json.loads(site[name])
    return name, manifest


def test_a_proof_of_something_else_is_refused_in_a_sentence(either: Browser[Tab], site: dict[str, bytes]) -> None:
    name, manifest = proof_of(site)
    for row in manifest["proof"]["outputs"][0]["values"]:
        row[3] += manifest["proof"]["outputs"][0]["high"]
    other = sealed({**site, name: json.dumps(manifest).encode()}, entry_of(site))
    with page(either, other) as tab:
        sentence = run(tab, "")
        assert run(tab, "return model.proof;", "{ prove: false }") is None
    entry, kind = entry_of(site), manifest["proof"]["processor"]["kind"]
    assert sentence.startswith(
        f"{entry['name']} computes something else in this browser (simd128) than where it was proved ({kind}): "
        "output 'logits' is off by "
    )
    assert sentence.endswith(f"; {entry['remedy']}")


def test_an_engine_that_rounds_wrongly_is_refused(browser: Browser[Tab], site: dict[str, bytes]) -> None:
    """What is rounded is held to 10, and not to a million, in every lane of a vector."""
    entry = entry_of(site)
    engine = entry["engines"]["wasm32-relaxed"]
    wrong = site[engine].replace(np.full(4, 1e6, "<f4").tobytes(), np.full(4, 10, "<f4").tobytes())
    assert wrong != site[engine]
    with page(browser, sealed({**site, engine: wrong}, entry)) as tab:
        assert "computes something else in this browser (simd128)" in run(tab, "")


def test_what_is_not_there_is_named(browser: Browser[Tab], site: dict[str, bytes]) -> None:
    entry = entry_of(site)
    engine = entry["engines"]["wasm32-relaxed"]
    with page(browser, {name: content for name, content in site.items() if name != engine}) as tab:
        assert run(tab, "").endswith(f"/{engine} is not there (HTTP 404): export the site again, or copy all of it")
        assert run(tab, "", "{ model: 'another' }") == f"there is no model 'another' here, but {entry['name']}"
    with page(browser, {**site, "models.json": b'{"schema_version": 2}'}) as tab:
        assert run(tab, "") == "models.json is of version 2, this page reads 1: reload it"
