#!/bin/sh
# The other tools, each in an environment of its own, so that none of their requirements meets ours.
# Versions are pinned: a comparison is worth something only against a named version.
#
#   benchmarks/setup.sh            all environments, some gigabytes
#   benchmarks/setup.sh web        one of them: plain, litert, web
#   PYTHON=python3.11 benchmarks/setup.sh
set -eu
cd "$(dirname "$0")"
: "${PYTHON:=python3}"

wanted() { # name, names asked for...
    name=$1
    shift
    [ $# -eq 0 ] && return
    for asked in "$@"; do [ "$asked" = "$name" ] && return; done
    return 1
}

environment() { # name, packages...
    name=$1
    shift
    [ -x ".venvs/$name/bin/python" ] || "$PYTHON" -m venv ".venvs/$name"
    ".venvs/$name/bin/python" -m pip install --quiet --disable-pip-version-check "$@"
}

# PyTorch's own ONNX exporters, OpenVINO's converter, which takes the PyTorch module itself, and the quantizers that
# belong to the two runtimes.
if wanted plain "$@"; then
    environment plain torch==2.13.0 transformers==5.23.0 onnx==1.23.2 onnxscript==0.7.2 openvino==2026.4.1 \
        onnxruntime==1.31.1 nncf==3.4.0
    # It reports its use over the network as long as this package is there, and works without.
    .venvs/plain/bin/python -m pip uninstall --quiet --yes openvino-telemetry
fi
# Google's converter from PyTorch to TFLite, and its quantizer.
if wanted litert "$@"; then
    environment litert torch==2.13.0 transformers==5.23.0 litert-torch==0.10.0 ai-edge-quantizer==0.10.0
fi
# The runtimes for browsers, from npm; nothing of what they bring is run while it is installed.
if wanted web "$@"; then
    npm install --prefix .venvs/web --save-exact --ignore-scripts --no-audit --no-fund --loglevel=error \
        @litertjs/core@2.5.3 onnxruntime-web@1.30.0
fi
