# Sourced by the scripts beside it: where the project is, and how what is missing gets installed on Debian.
# shellcheck shell=bash

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
PATH=$PATH:/usr/sbin:/sbin # where Debian keeps mkfs, out of other users' sight

say() { printf '%s\n' "$*"; }
is_root() { [ "$(id -u)" -eq 0 ]; }
have() { command -v "$1" >/dev/null 2>&1; }

# need WHAT:PACKAGE... - installs the packages whose command or file (WHAT begins with /) is missing. Fails, naming them, if
# that can't be done.
need() {
  local pair what packages=()
  for pair in "$@"; do
    what=${pair%%:*}
    case $what in
      /*) [ -e "$what" ] || packages+=("${pair#*:}") ;;
      *) have "$what" || packages+=("${pair#*:}") ;;
    esac
  done
  [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
}

# install_packages PACKAGE... - by apt-get, quietly; shows its output only if it fails.
install_packages() {
  if ! is_root || ! have apt-get; then
    say "Missing, and only root on a Debian system can install it from here: $*"
    return 1
  fi
  say "Installing: $*"
  local log
  log=$(mktemp)
  if { apt-get -q update && DEBIAN_FRONTEND=noninteractive apt-get -qy install --no-install-recommends "$@"; } >"$log" 2>&1; then
    rm -f "$log"
  else
    tail -n 20 "$log" >&2
    rm -f "$log"
    say "apt-get could not install: $*"
    return 1
  fi
}

# What building takes beside Rust.
build_tools=(cc:gcc /usr/include/stdlib.h:libc6-dev)

# need_rust - Rust is the one thing, beside git, that must be there.
need_rust() {
  ! have cargo && [ -f "$HOME/.cargo/env" ] && . "$HOME/.cargo/env"
  have cargo || { say "cargo is not in PATH: install Rust first (rust-version in Cargo.toml)"; return 1; }
}

# target_folder - what cargo builds is below it.
target_folder() {
  cargo metadata --manifest-path "$root/Cargo.toml" --format-version 1 --no-deps |
    sed -n 's/.*"target_directory":"\([^"]*\)".*/\1/p'
}

# host - the machine's name for cargo, such as x86_64-unknown-linux-gnu.
host() { rustc -vV | sed -n 's/^host: //p'; }

# build_program - wyng as it is shipped. cargo looks for its settings in the folder in which it is started.
build_program() { (cd "$root" && cargo build --quiet --locked --release -p wyng); }

# built_program - where that is.
built_program() { printf '%s/%s/release/wyng\n' "$(target_folder)" "$(host)"; }
