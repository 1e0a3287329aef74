#!/usr/bin/env bash
# An emulated 64-bit Arm board in a folder: Debian for arm64, of this machine's release, with the runtimes' real aarch64
# wheels, run by qemu-user. A minute or two and half a gigabyte; on Debian, and without root:
#
#   tools/processors/board.sh BOARD [PACKAGE ...]     further Debian packages where any are named
#   BOARD/cortex-a76/python program.py                as a Raspberry Pi 5 does; cortex-a72: as a Raspberry Pi 4
#
# Packages are unpacked and not installed, so nothing of the board has to run here. A core's folder is what the emulator
# looks absolute paths up in, before it takes this machine's: it has the board's files, and its own /proc/cpuinfo and
# /sys, because XNNPACK and ONNX Runtime choose their kernels by them. BOARD/.ready is written last.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
constraints=$here/../../constraints.txt
python=${PYTHON:-python3}
board=${1:?where to build the board}
shift

missing=()
command -v qemu-aarch64 >/dev/null || missing+=(qemu-user)
command -v apt-get >/dev/null || missing+=(apt)
command -v dpkg-deb >/dev/null || missing+=(dpkg)
if ((${#missing[@]})) || [ ! -e /etc/debian_version ]; then
    echo "board.sh: the board is built on Debian, with ${missing[*]:-its package sources}, which this machine lacks" >&2
    exit 2
fi
"$python" -m pip --version >/dev/null || { echo "board.sh: $python has no pip: name one that has, PYTHON=…" >&2; exit 2; }

recipe=$(cat "${BASH_SOURCE[0]}" "$constraints" - <<<"$*" | sha256sum)
if [ "$(cat "$board/.ready" 2>/dev/null)" = "$recipe" ]; then
    echo "$board is ready"
    exit
fi
if [ -e "$board" ] && [ ! -e "$board/.board" ] && [ -n "$(ls -A "$board")" ]; then
    echo "board.sh: $board is no board and not empty: name another folder" >&2
    exit 2
fi
rm -rf "$board"
mkdir -p "$board"/{apt/lists/partial,apt/archives/partial,root/tmp,root/usr/bin,root/usr/sbin,root/usr/lib}
touch "$board/.board"
board=$(cd "$board" && pwd)
root=$board/root

# This machine's sources and keys, asked for another architecture, with no package installed.
: >"$board/apt/status"
cat >"$board/apt/apt.conf" <<EOF
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Install-Recommends "false";
APT::Sandbox::User "";
Acquire::Languages "none";
Acquire::Retries "3";
Dir::State::Lists "$board/apt/lists";
Dir::State::status "$board/apt/status";
Dir::Cache "$board/apt";
EOF
echo "unpacking Debian for arm64 in $board"
APT_CONFIG=$board/apt/apt.conf apt-get update -qq
APT_CONFIG=$board/apt/apt.conf apt-get install -qq --yes --download-only python3 libstdc++6 "$@" >/dev/null
for folder in bin sbin lib; do ln -s "usr/$folder" "$root/$folder"; done
for package in "$board"/apt/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar --extract --keep-directory-symlink --no-same-owner --directory "$root"
done
rm -r "$board/apt"

version=$(readlink "$root/usr/bin/python3") # python3.11
platforms=(--platform manylinux2014_aarch64)
for glibc in {17..36}; do platforms+=(--platform "manylinux_2_${glibc}_aarch64"); done
echo "unpacking the runtimes' wheels"
"$python" -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target "$root/site" \
    --only-binary=:all: "${platforms[@]}" --python-version "${version#python}" --implementation cp \
    --constraint "$constraints" numpy Pillow ai-edge-litert onnxruntime openvino

core() { # name, CPU part, further features, board
    local folder=$board/$1 name cpu topology registers
    mkdir -p "$folder"/proc/{self,device-tree}
    for name in usr etc var site; do ln -s "../root/$name" "$folder/$name"; done
    for name in bin sbin lib; do ln -s "usr/$name" "$folder/$name"; done
    for cpu in 0 1 2 3; do
        printf 'processor\t: %s\nBogoMIPS\t: 108.00\nFeatures\t: %s\n' "$cpu" "fp asimd evtstrm aes pmull sha1 sha2 crc32$3"
        printf 'CPU implementer\t: 0x41\nCPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: %s\nCPU revision\t: 1\n\n' "$2"
        topology=$folder/sys/devices/system/cpu/cpu$cpu/topology
        mkdir -p "$topology"
        echo 0-3 >"$topology/core_siblings_list"
        echo 0 >"$topology/physical_package_id"
        echo "$cpu" >"$topology/core_id"
        echo "$cpu" >"$topology/thread_siblings_list"
        registers=$folder/sys/devices/system/cpu/cpu$cpu/regs/identification
        mkdir -p "$registers"
        printf '0x00000000410f%s1\n' "${2#0x}" >"$registers/midr_el1"
    done >"$folder/proc/cpuinfo"
    printf 'Model\t\t: %s\n' "$4" >>"$folder/proc/cpuinfo"
    printf '%s' "$4" >"$folder/proc/device-tree/model"
    echo "Name: python3" >"$folder/proc/self/status" # the memory there would be the emulator's
    for known in possible present online; do echo 0-3 >"$folder/sys/devices/system/cpu/$known"; done
    # It gives its own name as argv[0], and so Python takes it for itself: a child process is started through it again.
    cat >"$folder/python" <<EOF
#!/bin/sh
here=\$(cd "\$(dirname "\$0")" && pwd)
exec qemu-aarch64 -L "\$here" -cpu $1 -0 "\$here/python" "\$here/usr/bin/$version" "\$@"
EOF
    chmod +x "$folder/python"
}
core cortex-a72 0xd08 "" "Raspberry Pi 4 Model B Rev 1.4"
core cortex-a76 0xd0b " atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp" "Raspberry Pi 5 Model B Rev 1.0"

echo "starting the board"
PYTHONPATH=/site "$board/cortex-a76/python" -c \
    'import ai_edge_litert.interpreter, numpy, onnxruntime, openvino, platform; print(platform.machine())' >/dev/null
echo "$recipe" >"$board/.ready"
echo "$board is ready"
