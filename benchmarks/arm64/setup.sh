#!/usr/bin/env bash
# An emulated 64-bit Arm board: Debian bookworm for arm64 in a folder, with the runtimes' real aarch64 wheels, run by
# QEMU. On Debian, as root, about three minutes:
#
#   benchmarks/arm64/setup.sh ROOT [WHEEL ...]     the runtimes at their newest where no wheel is named
#
# ROOT/proc/cpuinfo is a plain file, because XNNPACK and ONNX Runtime choose their kernels by it: benchmarks/arm64.py
# writes it for the processor that is emulated.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=${1:?where to build the root file system}
shift
[ $# -gt 0 ] || set -- ai-edge-litert onnxruntime

apt-get update -qq
DEBIAN_FRONTEND=noninteractive apt-get install -y -qq qemu-user qemu-user-static binfmt-support mmdebstrap gcc >/dev/null
mountpoint -q /proc/sys/fs/binfmt_misc || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
update-binfmts --enable qemu-aarch64 || true
if [ ! -x "$root/usr/bin/python3.11" ]; then
    mmdebstrap --architectures=arm64 --variant=minbase --include=python3,python3-venv,ca-certificates \
        bookworm "$root" /etc/apt/sources.list.d/debian.sources
fi

platforms=(--platform manylinux2014_aarch64)
for glibc in 2_17 2_27 2_28 2_31 2_34 2_35; do platforms+=(--platform "manylinux_${glibc}_aarch64"); done
python3 -m pip install --quiet --target "$root/site" --upgrade --only-binary=:all: "${platforms[@]}" \
    --python-version 3.11 --implementation cp "$@"

# The emulator with the plug-in that counts instructions, and the libraries both need, inside the board: from there
# they see its files as the program they run does.
mkdir -p "$root/qemu" "$root/tmp" "$root/proc"
gcc -O2 -shared -fPIC -o "$root/qemu/libicount.so" "$here/icount.c"
cp "$(command -v qemu-aarch64)" "$root/qemu/"
ldd "$(command -v qemu-aarch64)" | grep -oE '/[^ ]+\.so[^ ]*' | xargs -I{} cp -L {} "$root/qemu/"
cp -L /lib64/ld-linux-x86-64.so.2 "$root/qemu/"

for cpu in 0 1 2 3; do
    topology=$root/sys/devices/system/cpu/cpu$cpu/topology
    mkdir -p "$topology"
    echo 0-3 >"$topology/core_siblings_list"
    echo 0 >"$topology/physical_package_id"
    echo "$cpu" >"$topology/core_id"
    echo "$cpu" >"$topology/thread_siblings_list"
done
for known in possible present online; do echo 0-3 >"$root/sys/devices/system/cpu/$known"; done
echo "ready: $root"
