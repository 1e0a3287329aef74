"""Results as runs of an MLflow server, or of a folder or database that MLflow keeps.

The address comes from whoever calls, and from nowhere else. MLflow reports its own use to its makers unless it is told
not to, and is told so here before it is imported; it also prints, and retries for minutes, and is kept from both.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgecvx.errors import Page, PublishingError, RuntimeUnavailableError, UsageError, about, missing_package
from edgecvx.publishing.records import RunRecord, metric_name
from edgecvx.results.untrusted import plain

EXPERIMENT = "edgecvx"
"""Where runs go when nothing else is said."""
SCHEMES = ("http", "https", "file", "sqlite", "databricks")
ALWAYS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",  # standard output may be for JSON alone
}
USUALLY = {
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "ERROR",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",  # a quarter of a minute; by itself MLflow asks for four minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
}
"""What a user may have set otherwise."""
AT_FIRST = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "10"}
"""While it is looked whether anybody is there."""
PARAMS_AT_ONCE, METRICS_AT_ONCE = 100, 1000
"""What servers take in one request."""
_DATABASE = ("sqlalchemy", "alembic")


@dataclass(slots=True)
class Tracker:
    """A server that answered, and the experiment there."""

    client: Any
    experiment: str
    """Its id."""
    address: str
    """As it may be shown: without name and password."""
    began: float = field(default_factory=time.time)

    @about(Page.RUNS)
    def log(self, record: RunRecord) -> str:
        """Logs a run with those in it; returns its id.

        Raises:
            PublishingError: With what was not logged; a run that was begun is marked as failed, as it is where
                somebody stops it.
        """
        open_runs: list[str] = []
        try:
            return self._log(record, open_runs, parent=None)
        except BaseException as error:
            for run in reversed(open_runs):
                with contextlib.suppress(*_refusals()), _settings(AT_FIRST):
                    self.client.set_terminated(run, status="FAILED")
            if not isinstance(error, _refusals()):
                raise
            raise PublishingError(
                f"'{plain(record.name, 100)}' was not logged to {self.address}: {_why(error)}; the results stay where "
                "they are"
            ) from None

    def _log(self, record: RunRecord, open_runs: list[str], parent: str | None) -> str:
        run = self.client.create_run(
            self.experiment,
            start_time=int(1000 * self.began),
            run_name=plain(record.name, 200),
            tags=_tags(record, parent),
        ).info.run_id
        open_runs.append(run)
        self._values(run, record)
        for name, text in record.texts.items():
            self.client.log_text(run, text, name)
        for path, folder in record.files:
            self.client.log_artifact(run, str(path), folder or None)
        for child in record.children:
            self._log(child, open_runs, parent=run)
        self.client.set_terminated(run, status="FINISHED")
        open_runs.remove(run)
        return str(run)

    def _values(self, run: str, record: RunRecord) -> None:
        from mlflow.entities import Metric, Param

        now = int(1000 * time.time())
        params = [Param(name, value) for name, value in record.words().items()]
        metrics = [Metric(name, value, now, 0) for name, value in record.numbers().items()]
        for first in range(0, len(params), PARAMS_AT_ONCE):
            self.client.log_batch(run, params=params[first : first + PARAMS_AT_ONCE])
        for first in range(0, len(metrics), METRICS_AT_ONCE):
            self.client.log_batch(run, metrics=metrics[first : first + METRICS_AT_ONCE])


def _tags(record: RunRecord, parent: str | None) -> dict[str, str]:
    named = {metric_name(name): plain(value) for name, value in record.tags.items()}
    within = {} if parent is None else {"mlflow.parentRunId": parent}
    return {"mlflow.source.name": "edgecvx", "mlflow.source.type": "LOCAL", **named, **within}


@about(Page.RUNS)
def open_tracker(address: str, experiment: str = EXPERIMENT) -> Tracker:
    """Finds the experiment on a server, or makes it there: before any work is done, so that a wrong address costs none.

    Args:
        address: ``http://…``, ``https://…``, a folder or ``file:…``, ``sqlite:///…``, or ``databricks``.
        experiment: Its name.

    Raises:
        UsageError: The address is none, or the experiment was deleted there.
        RuntimeUnavailableError: MLflow is not installed, or what it keeps a database with.
        PublishingError: Nobody is there, or it is no tracking server.
    """
    uri = _uri(address)
    os.environ.update(ALWAYS | ({"MLFLOW_ALLOW_FILE_STORE": "true"} if uri.startswith("file:") else {}))
    for name, value in USUALLY.items():
        os.environ.setdefault(name, value)
    try:
        from mlflow import MlflowClient
    except ModuleNotFoundError:
        raise missing_package("MLflow", "mlflow") from None
    if uri.startswith("sqlite:"):
        _check_database()
    try:
        with _settings(AT_FIRST):
            client = MlflowClient(tracking_uri=uri)
            known = client.get_experiment_by_name(experiment)
            found = client.create_experiment(experiment) if known is None else known.experiment_id
    except _refusals() as error:
        raise PublishingError(f"no runs can be logged to {shown(address)}: {_why(error)}") from None
    if known is not None and known.lifecycle_stage == "deleted":  # it is found by its name, and takes no runs
        raise UsageError(
            f"experiment {plain(experiment)!r} was deleted in {shown(address)}: restore it, or name another"
        )
    return Tracker(client=client, experiment=str(found), address=shown(address))


def shown(address: str) -> str:
    """An address without what may be secret in it: names and passwords, however they were put there, and a query."""
    scheme, separator, rest = address.partition("://")
    if ":" not in address or scheme.partition(":")[0] in ("file", "sqlite"):
        return plain(address)
    place = rest if separator else address  # of me:secret@host the scheme was forgotten
    return plain(f"{scheme if separator else ''}{separator}{re.split('[?#]', place.rpartition('@')[2])[0]}")


def _uri(address: str) -> str:
    """The address as MLflow takes it; of a folder the URI of its absolute path."""
    with contextlib.suppress(ValueError):  # half of an IPv6 address, or a port that is no number
        parts = urlsplit(address)
        named = parts.scheme in SCHEMES and (parts.netloc or parts.scheme not in ("http", "https"))
        if address == "databricks" or (named and parts.port != 0):
            return address
        if address and not parts.scheme and ":" not in address:
            return Path(address).absolute().as_uri()
    raise UsageError(
        f"{shown(address)!r} is no address of a tracking server: it is http://HOST:PORT, https://…, sqlite:///FILE, "
        "databricks, or a folder"
    )


def _check_database() -> None:
    """MLflow's client comes without what keeps runs in a database, and does not say so."""
    if missing := [name for name in _DATABASE if importlib.util.find_spec(name) is None]:
        raise RuntimeUnavailableError(
            f"MLflow keeps runs in SQLite by {' and '.join(_DATABASE)}, and {missing[0]} is not installed here: "
            "pip install mlflow"
        )


@contextlib.contextmanager
def _settings(wanted: Mapping[str, str]) -> Iterator[None]:
    """Settings that MLflow reads from the environment at each request."""
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _refusals() -> tuple[type[BaseException], ...]:
    """What MLflow raises where a server is not there, or does not do as it is asked."""
    from mlflow.exceptions import MlflowException

    return MlflowException, OSError, ImportError, ValueError, LookupError


def _why(error: BaseException) -> str:
    """What an error of MLflow means; its own words may hold an address with a password in it, and are left out."""
    if isinstance(error, ImportError):
        return f"it takes the package {error.name}"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    status = getattr(error, "get_http_status_code", lambda: 500)()
    if type(error).__name__ == "RestException":
        return f"it answers {getattr(error, 'error_code', 'an error')}"
    return "no tracking server answers there" if status >= 500 else "it does not answer as a tracking server does"
