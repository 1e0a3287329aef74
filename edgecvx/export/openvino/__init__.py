"""OpenVINO IR: an ``.xml`` and its ``.bin``."""
