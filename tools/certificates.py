"""Certificates for a cluster: one authority, one certificate, and Dask's settings that name them.

``python tools/certificates.py FOLDER [HOST…]`` writes ``ca.pem``, ``cert.pem``, ``key.pem`` and ``distributed.yaml``.
Copied to every machine of a cluster, and named by ``DASK_CONFIG=FOLDER``, it is all that ``dask scheduler``, ``dask
worker`` and ``edgecvx --cluster tls://…`` need: each shows the certificate, and talks to nobody who cannot show one of
the same authority. Whoever holds the folder can run programs on the workers; the authority's own key is not kept.

It calls ``openssl``. The paths in ``distributed.yaml`` are those of this folder; where it lies elsewhere on another
machine, write it there with ``--settings-only``.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

DAYS = 825
"""Longer ones are refused by some systems."""
_HOST = re.compile(r"[A-Za-z0-9.:-]+")
_SETTINGS = """\
# Every machine of the cluster shows this certificate, and asks everybody else for one of the same authority.
distributed:
  comm:
    require-encryption: true
    timeouts:
      tcp: 120s  # a network that is gone for a minute ends nothing
    tls:
      ca-file: {ca}
      scheduler: {{cert: {cert}, key: {key}}}
      worker: {{cert: {cert}, key: {key}}}
      client: {{cert: {cert}, key: {key}}}
  # Pages that would be shown to everybody, without a certificate.
  scheduler: {{http: {{routes: [distributed.http.health]}}}}
  worker: {{http: {{routes: [distributed.http.health]}}}}
"""


def write_settings(folder: Path) -> Path:
    """Writes ``distributed.yaml`` with the paths of this folder."""
    path = folder / "distributed.yaml"
    named = {name: json.dumps(str(folder.resolve() / f"{name}.pem")) for name in ("ca", "cert", "key")}
    path.write_text(_SETTINGS.format(**named), encoding="utf-8")
    return path


def write_certificates(folder: Path, hosts: Sequence[str]) -> None:
    """Makes the authority and what it signs; readable by this user alone."""
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    with tempfile.TemporaryDirectory() as temporary:
        there = Path(temporary)
        _openssl(
            *(
                "req",
                "-x509",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-days",
                str(DAYS),
            ),
            *(
                "-subj",
                "/CN=edgecvx cluster authority",
                "-keyout",
                str(there / "ca.key"),
                "-out",
                str(folder / "ca.pem"),
            ),
        )
        _openssl(
            *(
                "req",
                "-newkey",
                "ec",
                "-pkeyopt",
                "ec_paramgen_curve:prime256v1",
                "-nodes",
                "-subj",
                "/CN=edgecvx cluster",
            ),
            *("-keyout", str(folder / "key.pem"), "-out", str(there / "request.pem")),
        )
        (there / "names").write_text(f"subjectAltName={','.join(map(_name, hosts))}\nbasicConstraints=CA:FALSE\n")
        _openssl(
            *("x509", "-req", "-in", str(there / "request.pem"), "-days", str(DAYS), "-CAcreateserial"),
            *("-CA", str(folder / "ca.pem"), "-CAkey", str(there / "ca.key"), "-CAserial", str(there / "serial")),
            *("-extfile", str(there / "names"), "-out", str(folder / "cert.pem")),
        )
    for name in ("ca.pem", "cert.pem", "key.pem"):
        (folder / name).chmod(0o600)


def _name(host: str) -> str:
    if not _HOST.fullmatch(host):
        raise SystemExit(f"{host!r} is no name of a host")
    return f"IP:{host}" if re.fullmatch(r"[\d.]+|.*:.*", host) else f"DNS:{host}"


def _openssl(*arguments: str) -> None:
    done = subprocess.run(["openssl", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"openssl {arguments[0]} failed: {done.stderr.strip().splitlines()[-1]}")


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("hosts", nargs="*", default=["localhost", "127.0.0.1"], help="names the certificate is for")
    parser.add_argument(
        "--settings-only", action="store_true", help="the certificates are there; write distributed.yaml"
    )
    asked = parser.parse_args()
    if shutil.which("openssl") is None and not asked.settings_only:
        sys.exit("openssl is not installed here")
    if not asked.settings_only:
        write_certificates(asked.folder, asked.hosts)
    print(f"wrote {write_settings(asked.folder)}: export DASK_CONFIG={asked.folder.resolve()}")


if __name__ == "__main__":
    main()
