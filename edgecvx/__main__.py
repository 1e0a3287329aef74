"""``python -m edgecvx``: the command line where its script is not on the path."""

from edgecvx.cli import main

if __name__ == "__main__":
    main()
