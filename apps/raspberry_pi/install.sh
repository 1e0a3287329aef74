#!/usr/bin/env bash
# One command from Raspberry Pi OS (bookworm, 64 bit) to a live page; see README.md beside it, or --help.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
board="Raspberry Pi (Raspberry Pi OS bookworm, 64 bit)"
packages=(python3-venv python3-picamera2 gstreamer1.0-tools gstreamer1.0-plugins-base gstreamer1.0-plugins-good v4l-utils)
# An environment of its own, without the system's packages: picamera2 is built for the system's older numpy and breaks
# beside a newer one. It does not have to be here, because the camera is read by a process of the system's own Python.
venv_options=()
extra=tflite
settings=$here/live.toml

check_board() {
  case $(uname -m) in
    aarch64 | x86_64) ;;
    *) fail "this is $(uname -m): the runtime exists for 64 bit only; write Raspberry Pi OS (64-bit) to the card" ;;
  esac
  grep -qs '^VERSION_CODENAME=bookworm' /etc/os-release || say "made for Raspberry Pi OS bookworm; this is another system: trying"
}

# shellcheck source-path=SCRIPTDIR source=../board.bash
source "$here/../board.bash"
main "$@"
