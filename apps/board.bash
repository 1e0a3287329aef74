# What the boards' install scripts share; sourced by them, not run.
#
# A board's script sets: board, packages (an array), venv_options (an array), extra, settings (its live.toml), and may
# define check_board. Everything it installs lies under --prefix, but for the unit, the user and a link to the command.
# shellcheck shell=bash disable=SC2154 # the variables above come from the script that sources this one

prefix=/opt/edgecvx-live
use_apt=yes
use_service=yes
uninstall=no
artifacts=()
unit=edgecvx-live.service
user=edgecvx-live
link=/usr/local/bin/edgecvx-live
apps=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=

usage() {
  cat <<TEXT
Installs edgecvx-live on a $board: a camera, a file that edgecvx exported, and what it sees, on a page.

  sudo $0 [options] [ARTIFACT ...]

  ARTIFACT        a file that edgecvx export wrote, its manifest beside it; copied, and named in the settings
  --prefix DIR    where everything goes (default: $prefix)
  --no-apt        install no system packages
  --no-service    no user, no systemd unit, no link in ${link%/*}: the command is DIR/venv/bin/edgecvx-live
  --uninstall     remove it all again, settings and artifacts included
  --help          this text

May be run again at any time: it brings what is there up to date and keeps your settings. It asks nothing.
TEXT
}

say() { printf '==> %s\n' "$*"; }

fail() {
  printf 'install.sh: %s\n' "$*" >&2
  exit 2
}

parse() {
  while (($#)); do
    case $1 in
      --prefix)
        (($# > 1)) || fail "--prefix needs a folder"
        prefix=$2 && shift
        ;;
      --prefix=*) prefix=${1#*=} ;;
      --no-apt) use_apt=no ;;
      --no-service) use_service=no ;;
      --uninstall) uninstall=yes ;;
      --help | -h) usage && exit 0 ;;
      -*) fail "unknown option $1 (see --help)" ;;
      *) artifacts+=("$1") ;;
    esac
    shift
  done
  # The unit file and the settings name this folder; systemd and TOML would each read other characters in their own way.
  [[ $prefix =~ ^/[A-Za-z0-9._/-]+$ && $prefix != *..* ]] ||
    fail "--prefix $prefix does not work: a whole path of letters, digits, '.', '_' and '-'"
  prefix=${prefix%/}
  [[ ! -e $prefix || -e $prefix/.edgecvx-live || -z $(ls -A "$prefix") ]] ||
    fail "$prefix holds something else; give another --prefix"
}

check() {
  [[ $use_apt$use_service == nono || $EUID == 0 ]] || fail "run it with sudo, or with --no-apt --no-service"
  python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "Python 3.10 or newer is needed; this is $(python3 -V 2>&1)"
  local artifact
  for artifact in "${artifacts[@]}"; do
    [[ $(basename "$artifact") =~ ^[A-Za-z0-9._-]+$ ]] || fail "$artifact: letters, digits, '.', '_' and '-' make a file's name here"
    [[ -f $artifact && -f $artifact.edgecvx.json ]] || fail "$artifact or its manifest $artifact.edgecvx.json is missing"
  done
}

remove() {
  say "removing the service, $link and $prefix"
  if [[ $use_service == yes ]]; then
    if [[ -e /etc/systemd/system/$unit ]]; then
      systemctl disable --now "$unit" 2>/dev/null || true
      rm -f "/etc/systemd/system/$unit"
      systemctl daemon-reload 2>/dev/null || true
    fi
    [[ $(readlink "$link" || true) != "$prefix"/* ]] || rm -f "$link"
    if id "$user" >/dev/null 2>&1; then userdel "$user"; fi
  fi
  if [[ -e $prefix/.edgecvx-live ]]; then rm -rf "$prefix"; fi
  say "removed; system packages that were installed stay"
}

install_packages() {
  say "system packages: ${packages[*]}"
  apt-get update --quiet
  DEBIAN_FRONTEND=noninteractive apt-get install --quiet --yes --no-install-recommends "${packages[@]}"
}

# Whether a runtime has to be installed: the native engine comes with its files.
needs_runtime() {
  local artifact
  for artifact in "${artifacts[@]}"; do
    [[ $artifact == *.ecvx ]] || return 0
  done
  ((${#artifacts[@]} == 0))
}

# From wheels beside the board's script where there are any, else from the checkout it lies in: out of a copy, because
# building leaves folders behind, which would belong to root.
install_python() {
  local sources=() core live with="[$extra]"
  needs_runtime || with=
  say "Python environment in $prefix/venv"
  # One that was left half made, or whose Python went with an update of the system, is made anew.
  "$prefix/venv/bin/python" -m pip --version >/dev/null 2>&1 || python3 -m venv --clear "${venv_options[@]}" "$prefix/venv"
  if compgen -G "$here/wheels/edgecvx-*.whl" >/dev/null; then
    core=$(printf '%s\n' "$here"/wheels/edgecvx-*.whl | sort --version-sort | tail -n 1)
    live=$(printf '%s\n' "$here"/wheels/edgecvx_live-*.whl | sort --version-sort | tail -n 1)
    sources=("$core$with" "$live")
  else
    work=$(mktemp -d)
    mkdir "$work/edgecvx"
    cp -R "$apps/../pyproject.toml" "$apps/../README.md" "$apps/../LICENSE" "$apps/../NOTICE" "$apps/../edgecvx" "$work/edgecvx"
    cp -R "$apps" "$work/apps"
    sources=("$work/edgecvx$with" "$work/apps")
  fi
  say "edgecvx$with and edgecvx-live, as wheels: nothing is compiled"
  "$prefix/venv/bin/python" -m pip install --quiet --disable-pip-version-check --upgrade --only-binary=numpy,pillow,psutil,ai-edge-litert "${sources[@]}"
  "$prefix/venv/bin/edgecvx-live" --version
}

# All that the manifest names: each is held to its hash there, whatever machine it is for.
install_libraries() {
  local library
  for library in "$1".*.so "$1".*.dylib "$1".*.dll "$1".*.wasm "$1".*.c "$1".*.h; do
    if [[ -f $library ]]; then install -m 644 "$library" "$prefix/artifacts"; fi
  done
}

install_settings() {
  local artifact list names=()
  mkdir -p "$prefix/artifacts"
  for artifact in "${artifacts[@]}"; do
    say "artifact $(basename "$artifact")"
    install -m 644 "$artifact" "$artifact.edgecvx.json" "$prefix/artifacts" # a user's own may be for his eyes only
    # OpenVINO keeps the weights in a second file, and the native engine comes as a library for each platform
    if [[ $artifact == *.xml && -f ${artifact%.xml}.bin ]]; then install -m 644 "${artifact%.xml}.bin" "$prefix/artifacts"; fi
    if [[ $artifact == *.ecvx ]]; then install_libraries "${artifact%.ecvx}"; fi
    names+=("\"artifacts/$(basename "$artifact")\"")
  done
  list=$(IFS=, && printf '%s' "${names[*]}")
  list="artifacts = [${list//,/, }]"
  if [[ ! -e $prefix/live.toml ]]; then
    sed "s|^artifacts = .*|$list|" "$settings" >"$prefix/live.toml"
    say "settings in $prefix/live.toml"
  elif ((${#names[@]})) && grep -q '^artifacts = \[\]' "$prefix/live.toml"; then
    sed -i "s|^artifacts = \[\]|$list|" "$prefix/live.toml"
    say "your settings in $prefix/live.toml are kept; they named no artifact, and now do"
  else
    say "your settings in $prefix/live.toml are kept"
    for artifact in "${names[@]}"; do
      grep -qF "$artifact" "$prefix/live.toml" || say "not in use until $prefix/live.toml names it: $artifact"
    done
  fi
}

install_service() {
  if ! id "$user" >/dev/null 2>&1; then
    say "user $user, who may use cameras and nothing else"
    useradd --system --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user"
  fi
  local group
  for group in video render; do
    if getent group "$group" >/dev/null; then usermod --append --groups "$group" "$user"; fi
  done
  chown "root:$user" "$prefix/live.toml" && chmod 640 "$prefix/live.toml" # may hold a token
  ln -sf "$prefix/venv/bin/edgecvx-live" "$link"
  sed "s|@PREFIX@|$prefix|g; s|@USER@|$user|g" "$here/$unit" >"/etc/systemd/system/$unit"
  if [[ ! -d /run/systemd/system ]]; then
    say "systemd does not run here: the unit is in place and starts with the next boot that has it"
    return
  fi
  systemctl daemon-reload
  if grep -q '^artifacts = \[\]' "$prefix/live.toml"; then
    say "name an artifact in $prefix/live.toml, then: sudo systemctl enable --now $unit"
  else
    systemctl enable --quiet "$unit"
    systemctl restart "$unit"
    say "it runs, and will after every boot; what it says: journalctl -u ${unit%.service} -f"
  fi
}

main() {
  umask 022 # the service's user reads what root writes here
  parse "$@"
  trap '[[ -z $work ]] || rm -rf "$work"' EXIT
  if [[ $uninstall == yes ]]; then
    [[ $use_service == no || $EUID == 0 ]] || fail "run it with sudo"
    remove
    return
  fi
  check
  check_board
  [[ $use_apt == no ]] || install_packages
  mkdir -p "$prefix"
  touch "$prefix/.edgecvx-live"
  install_python
  install_settings
  [[ $use_service == no ]] || install_service
  say "done. By hand: $prefix/venv/bin/edgecvx-live --config $prefix/live.toml"
}
