"""A model hub on this machine: as much of its HTTP API as the hub's own client needs to make a repository and a commit.

Large files go over Git LFS, as they did before the hub's own transfer and still do without it; regular ones in the
commit. A repository holds what was committed, and nothing that was only uploaded.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

yaml = pytest.importorskip("yaml")  # it comes with the hub's client

TOKEN = "hf_of_a_test"
LFS_FROM = 10_000
"""Bytes from which a file is a large one here."""
COMMIT = "89abcdef0123456789abcdef0123456789abcdef"


@dataclass(slots=True)
class Repository:
    private: bool
    files: dict[str, bytes] = field(default_factory=dict)
    commits: list[str] = field(default_factory=list)


@dataclass(slots=True)
class Hub:
    """What the server holds, and what it was asked."""

    address: str = ""
    repositories: dict[str, Repository] = field(default_factory=dict)
    objects: dict[str, bytes] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    refuses: int | None = None
    """The status with which everything is answered."""
    adds: str = ""
    """To the address of a commit."""

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, Any]:
        if path.startswith("/objects/"):
            self.objects[path.rsplit("/", 1)[-1]] = body
            return 200, {}
        asked = json.loads(body) if body and not path.endswith("/commit/main") else {}
        if path == "/api/repos/create":
            return self._create(asked)
        if path == "/api/validate-yaml":
            return _faults(asked["content"])
        name = "/".join(path.removeprefix("/api/models/").strip("/").removesuffix(".git").split("/")[:2])
        name = name.removesuffix(".git")
        if name not in self.repositories:
            return 404, {}
        if path.endswith("/preupload/main"):
            return 200, {"files": [_mode(file) for file in asked["files"]]}
        if path.endswith("/info/lfs/objects/batch"):
            return 200, {"transfer": "basic", "objects": [self._wanted(o) for o in asked["objects"]]}
        if path.endswith("/commit/main"):
            return self._commit(name, [json.loads(line) for line in body.splitlines()])
        return 200, {"id": name, "modelId": name, "private": self.repositories[name].private, "sha": COMMIT}

    def _create(self, asked: dict[str, Any]) -> tuple[int, Any]:
        name = f"{asked['organization']}/{asked['name']}"
        known = name in self.repositories
        private = asked.get("visibility") == "private" or bool(asked.get("private"))
        self.repositories.setdefault(name, Repository(private=private))
        return (409 if known else 200), {"url": f"{self.address}/{name}"}

    def _wanted(self, entry: dict[str, Any]) -> dict[str, Any]:
        upload = {"upload": {"href": f"{self.address}/objects/{entry['oid']}"}}
        return {**entry, **({} if entry["oid"] in self.objects else {"actions": upload})}

    def _commit(self, name: str, lines: list[dict[str, Any]]) -> tuple[int, Any]:
        repository = self.repositories[name]
        for line in lines:
            value = line["value"]
            if line["key"] == "header":
                repository.commits.append(value["summary"])
            elif line["key"] == "file":
                repository.files[value["path"]] = base64.b64decode(value["content"])
            elif line["key"] == "lfsFile":
                content = self.objects[value["oid"]]
                if hashlib.sha256(content).hexdigest() != value["oid"]:
                    return 422, {}
                repository.files[value["path"]] = content
        return 200, {"commitUrl": f"{self.address}/{name}/commit/{COMMIT}{self.adds}", "commitOid": COMMIT}


def _mode(file: dict[str, Any]) -> dict[str, Any]:
    mode = "lfs" if file["size"] >= LFS_FROM else "regular"
    return {"path": file["path"], "uploadMode": mode, "shouldIgnore": False}


def header(card: str) -> Any:
    """What is between the two lines of dashes at the top of a card, as YAML."""
    return yaml.safe_load(card.split("---\n")[1])


def _faults(card: str) -> tuple[int, Any]:
    """What the hub says of a card's header: that a licence has to be one it knows, or another one with a name."""
    from edgecvx.report.forms.card import LICENCES

    found = header(card)
    named = found["license"] in LICENCES | {"unknown"} or (found["license"] == "other" and "license_name" in found)
    fault = {"message": f'"license" must be one of them, not {found["license"]}'}
    return (200 if named else 400), {"errors": [] if named else [fault], "warnings": []}


@contextlib.contextmanager
def pretended_hub() -> Iterator[Hub]:
    """One that serves as long as the block runs."""
    hub = Hub()

    class Server(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def answer(self) -> None:
            path = self.path.partition("?")[0]
            hub.asked.append(f"{self.command} {path}")
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            known = self.headers.get("Authorization") == f"Bearer {TOKEN}" or path.startswith("/objects/")
            status, found = hub.answer(self.command, path, body) if known else (401, {})
            if hub.refuses is not None:
                status, found = hub.refuses, {}
            content = json.dumps(found).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_PUT = answer  # noqa: N815 (the server looks for these names)

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield hub
    server.shutdown()
    server.server_close()
