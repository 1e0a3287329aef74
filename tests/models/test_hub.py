"""The hub: its cache, its offline mode, a hub that answers and none at all are told apart, and quickly."""

from __future__ import annotations

import hashlib
import http.server
import importlib
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
import safetensors.torch
import torch
from waiting import PATIENCE

from edgecvx.errors import CheckpointError
from edgecvx.models import hub
from edgecvx.models.convnext import ConvNeXt, initialize
from edgecvx.models.load import load_model
from edgecvx.models.variants import VARIANTS

huggingface_hub = pytest.importorskip("huggingface_hub")
for part in ("constants", "file_download"):  # attributes of it only after somebody has imported them
    importlib.import_module(f"huggingface_hub.{part}")

COMMIT = "0123456789abcdef0123456789abcdef01234567"
ATTO = "convnextv2_atto.fcmae_ft_in1k"


@pytest.fixture(scope="module")
def atto() -> bytes:
    module = initialize(ConvNeXt(VARIANTS["convnextv2_atto"], 1000), 3)
    return bytes(safetensors.torch.save(dict(module.state_dict())))


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    return tmp_path / "hub"


def put(cache: Path, repo: str, name: str, data: bytes, *, blob: str | None = None) -> Path:
    """Puts a file where huggingface_hub would have: a blob named by its hash, and a snapshot that links to it."""
    folder = cache / f"models--{repo.replace('/', '--')}"
    stored = folder / "blobs" / (blob or hashlib.sha256(data).hexdigest())
    link = folder / "snapshots" / COMMIT / name
    for path in (stored, link, folder / "refs" / "main"):
        path.parent.mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(COMMIT)
    stored.write_bytes(data)
    link.symlink_to(stored)
    return stored


def test_cached_weights_load_offline_by_variant_and_by_tag(cache: Path, atto: bytes) -> None:
    put(cache, f"timm/{ATTO}", "model.safetensors", atto)
    for name in ("atto", ATTO, f"timm/{ATTO}"):
        loaded = load_model(name)
        source = loaded.spec.weights
        assert loaded.spec.name == ATTO
        assert (source.kind, source.ref, source.license) == ("imagenet", f"timm/{ATTO}", "cc-by-nc-4.0")
        assert source.sha256 == hashlib.sha256(atto).hexdigest()
        assert any("no commercial use" in warning for warning in loaded.warnings)


def test_the_test_size_brings_its_crop(cache: Path, atto: bytes) -> None:
    put(cache, f"timm/{ATTO}", "model.safetensors", atto)
    spec = load_model("atto", image_size=288).spec.preprocess
    assert (spec.size, spec.crop_pct) == (288, 0.95)


def test_pytorch_model_bin_serves_where_there_are_no_safetensors(cache: Path, tmp_path: Path, atto: bytes) -> None:
    torch.save(safetensors.torch.load(atto), tmp_path / "saved.bin")
    put(cache, f"timm/{ATTO}", "pytorch_model.bin", (tmp_path / "saved.bin").read_bytes())
    assert load_model("atto", weights="imagenet").spec.weights.kind == "imagenet"


def test_a_damaged_cache_is_noticed(cache: Path, atto: bytes) -> None:
    put(
        cache,
        f"timm/{ATTO}",
        "model.safetensors",
        atto[:-1] + bytes([atto[-1] ^ 1]),
        blob=hashlib.sha256(atto).hexdigest(),
    )
    with pytest.raises(CheckpointError, match="damaged in the hub's cache"):
        load_model("atto")


def test_facebook_s_transformers_checkpoints_load_by_their_hub_id(cache: Path, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    torch.manual_seed(0)
    names = {i: f"class {i}" for i in range(12)}
    config = transformers.ConvNextV2Config(
        hidden_sizes=[40, 80, 160, 320], depths=[2, 2, 6, 2], id2label=names, label2id={v: k for k, v in names.items()}
    )
    transformers.ConvNextV2ForImageClassification(config).save_pretrained(tmp_path / "saved")
    (tmp_path / "saved" / "preprocessor_config.json").write_text('{"size": 224, "crop_pct": 0.875}')
    repo = "facebook/convnextv2-atto-1k-224"
    for file in (tmp_path / "saved").iterdir():
        put(cache, repo, file.name, file.read_bytes())
    spec = load_model(repo).spec
    assert spec.name == "convnextv2_atto.facebook_1k_224"
    assert spec.labels == tuple(names.values())
    assert (spec.weights.layout, spec.weights.license) == ("transformers", "cc-by-nc-4.0")
    assert spec.preprocess.mean == (0.5, 0.5, 0.5)  # what transformers does where a file leaves it out


def test_offline_and_not_cached_is_an_error_of_its_own(cache: Path) -> None:
    with pytest.raises(hub.HubUnavailableError, match="HF_HUB_OFFLINE is set"):
        hub.fetch(f"timm/{ATTO}")


@pytest.fixture
def online(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine where nobody set the offline mode; the hub is then wherever ``endpoint`` points."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(hub, "_TIMEOUT_S", PATIENCE)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DOWNLOAD_TIMEOUT", PATIENCE)


def endpoint(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    for module in (huggingface_hub.constants, huggingface_hub.file_download.constants):
        monkeypatch.setattr(module, "ENDPOINT", address)
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", address + "/{repo_id}/resolve/{revision}/{filename}")


Serve = Callable[[Mapping[str, bytes], int], list[str]]


@pytest.fixture
def serve(online: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[Serve]:
    """A hub on this machine that has these files, or answers everything with one status; gives the list of requests."""
    servers = []

    def start(files: Mapping[str, bytes], status: int) -> list[str]:
        asked: list[str] = []

        class Hub(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                asked.append(f"{self.command} {self.path}")
                data = files.get(self.path.rsplit("/", 1)[-1])
                found = status == 200 and data is not None
                self.send_response(status if status != 200 or found else 404)
                self.send_header("X-Repo-Commit", COMMIT)
                if found and data is not None:
                    self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                    self.send_header("Content-Length", str(len(data)))
                elif status == 200:
                    self.send_header("X-Error-Code", "EntryNotFound")
                    self.send_header("Content-Length", "0")
                else:
                    self.send_header("Content-Length", "0")
                self.end_headers()
                if found and data is not None and self.command == "GET":
                    self.wfile.write(data)

            do_GET = do_HEAD = answer  # noqa: N815 (the server looks for these names)

            def log_message(self, *args: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        endpoint(monkeypatch, f"http://127.0.0.1:{server.server_address[1]}")
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_download_goes_into_the_cache_and_is_not_asked_for_again(serve: Serve, atto: bytes) -> None:
    asked = serve({"model.safetensors": atto}, 200)
    first = load_model("atto")
    assert first.spec.weights.sha256 == hashlib.sha256(atto).hexdigest()
    questions = len(asked)
    assert questions > 0
    assert load_model("atto").spec == first.spec
    assert len(asked) == questions


def test_a_repository_without_weights_is_no_reason_for_other_weights(serve: Serve) -> None:
    serve({"README.md": b"nothing here"}, 200)
    with pytest.raises(CheckpointError, match=r"neither model.safetensors nor pytorch_model.bin") as caught:
        load_model("atto")
    assert not isinstance(caught.value, hub.HubUnavailableError)


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_hub_that_refuses_or_fails_counts_as_unavailable_after_one_question(serve: Serve, status: int) -> None:
    asked = serve({}, status)
    with pytest.raises(hub.HubUnavailableError):
        hub.fetch(f"timm/{ATTO}")
    assert len(asked) == 1  # no retries: they are what makes the client take half a minute


def test_nobody_at_the_address_counts_as_unavailable(online: None, monkeypatch: pytest.MonkeyPatch) -> None:
    endpoint(monkeypatch, "http://127.0.0.1:9")
    with pytest.raises(hub.HubUnavailableError, match="cannot be reached"):
        hub.fetch(f"timm/{ATTO}")


@pytest.mark.parametrize(
    ("name", "known"),
    [
        ("facebook/convnextv2-atto-1k-224", True),
        ("facebook/convnextv2-nano-22k-384", True),
        ("facebook/convnext-tiny-224", False),
        ("facebook/../convnextv2-atto-1k-224", False),
        ("somebody/convnextv2-atto-1k-224", False),
    ],
)
def test_only_the_authors_repositories_are_taken_for_hub_ids(name: str, known: bool) -> None:
    assert hub.is_facebook_id(name) is known
