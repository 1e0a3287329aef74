"""Starts the runner. This one file is also read by Pythons that are too old for the rest, to say so in words."""

import sys

if sys.version_info < (3, 9):  # noqa: UP036  # a board's Python is what it is
    import json

    _FOUND = "%d.%d.%d" % tuple(sys.version_info[:3])  # noqa: UP031  # no f-strings before 3.6
    if sys.argv[1:2] == ["check"]:
        _ANSWER = {
            "python": _FOUND,
            "ok": False,
            "missing": [{"what": "Python 3.9 or newer", "install": "sudo apt-get install python3"}],
            "install": "sudo apt-get install python3",
            "notes": ["this is Python " + _FOUND + "; name a newer one of this device where there is one"],
        }
    else:
        _ANSWER = {
            "event": "error",
            "id": None,
            "sentence": "Python " + _FOUND + " is too old for the runner, which needs 3.9 or newer",
        }
    sys.stdout.write(json.dumps(_ANSWER) + "\n")
    sys.exit(2)

from edgecvx.board.runner.main import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
