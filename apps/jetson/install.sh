#!/usr/bin/env bash
# One command from JetPack 6 to a live page; see README.md beside it, or --help. Not run on hardware.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
board="Jetson (JetPack 6)"
packages=(python3-venv gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good v4l-utils)
# With the system's packages: TensorRT's Python part comes with JetPack and from nowhere else.
venv_options=(--system-site-packages)
extra=tflite,tensorrt
settings=$here/live.toml

check_board() {
  case $(uname -m) in
    aarch64 | x86_64) ;;
    *) fail "this is $(uname -m); a Jetson with JetPack 6 is aarch64" ;;
  esac
  if [[ ! -e /etc/nv_tegra_release ]]; then
    say "this is no Jetson: trying"
  elif ! grep -q '^# R36' /etc/nv_tegra_release; then
    say "made for JetPack 6 (L4T R36); this is $(head -c 12 /etc/nv_tegra_release): trying"
  fi
  python3 -c 'import tensorrt' 2>/dev/null ||
    say "no TensorRT for Python here: TFLite files run, TensorRT engines do not (sudo apt install nvidia-jetpack)"
}

# shellcheck source-path=SCRIPTDIR source=../board.bash
source "$here/../board.bash"
main "$@"
