#!/bin/sh
# The other tools, each in a virtual environment of its own, so that none of their requirements meets ours.
# Versions are pinned: a comparison is worth something only against a named version.
#
#   benchmarks/setup.sh            both environments, some gigabytes
#   PYTHON=python3.11 benchmarks/setup.sh
set -eu
cd "$(dirname "$0")"
: "${PYTHON:=python3}"

environment() { # name, packages...
    name=$1
    shift
    [ -x ".venvs/$name/bin/python" ] || "$PYTHON" -m venv ".venvs/$name"
    ".venvs/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# PyTorch's own ONNX exporters, OpenVINO's converter, which takes the PyTorch module itself, and the quantizers that
# belong to the two runtimes.
environment plain torch==2.13.0 transformers==5.23.0 onnx==1.23.2 onnxscript==0.7.2 openvino==2026.4.1 \
    onnxruntime==1.31.1 nncf==3.4.0
# It reports its use over the network as long as this package is there, and works without.
.venvs/plain/bin/python -m pip uninstall --quiet --yes openvino-telemetry
# Google's converter from PyTorch to TFLite, and its quantizer.
environment litert torch==2.13.0 transformers==5.23.0 litert-torch==0.10.0 ai-edge-quantizer==0.10.0
