"""The child process behind ``IsolatedSession``: opens one file, answers runs until its input closes."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from pathlib import Path

from edgecvx.errors import EdgecvxError
from edgecvx.runtimes import open_session
from edgecvx.runtimes.isolated import receive, send
from edgecvx.spec import to_json


def main() -> int:
    """Serves one session over standard input and output."""
    faulthandler.disable()
    if hasattr(signal, "SIGINT"):
        # Ctrl-C reaches the whole process group; the parent decides what it means and closes our input.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # native code that prints to standard output must not break the messages
    try:
        request, _ = receive(requests)
        session = open_session(
            request["runtime"],
            Path(request["path"]),
            threads=request["threads"],
            options=request["options"],
            isolated=False,
        )
    except EOFError:
        return 0
    except EdgecvxError as error:
        send(answers, {"error": str(error), "kind": type(error).__name__}, ())
        return 0
    told = {"notes": list(getattr(session, "notes", ())), "memory": getattr(session, "memory", None)}
    send(answers, {"inputs": to_json(session.inputs), "outputs": to_json(session.outputs), **told}, ())
    while True:
        try:
            _, (batch,) = receive(requests)
        except EOFError:
            session.close()
            return 0
        try:
            outputs = session.run(batch)
        except EdgecvxError as error:
            send(answers, {"error": str(error), "kind": type(error).__name__}, ())
            continue
        send(answers, {"names": list(outputs)}, tuple(outputs.values()))


if __name__ == "__main__":
    sys.exit(main())
