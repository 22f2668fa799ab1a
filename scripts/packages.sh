# Sourced by the scripts beside it: installs Debian packages where that is possible, else says in a line what is missing.

fail() { echo "$0: $*" >&2; exit 1; }

install() { # PACKAGE...: fails quietly where it cannot
  command -v apt-get >/dev/null && [ "$(id -u)" = 0 ] || return 1
  DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "$@" >/dev/null 2>&1 || {
    apt-get update -qq >/dev/null 2>&1
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=120 install -y -qq --no-install-recommends "$@" >/dev/null
  }
}

need() { # PROGRAM PACKAGE: the program must be there, or become so
  command -v "$1" >/dev/null || install "$2" || fail "the program $1 is missing: install the package $2"
}

need_optional() { # PROGRAM PACKAGE: says whether it is there
  command -v "$1" >/dev/null || install "$2"
}

has_target() { # TRIPLE: whether Rust's library for it is there, or can be had
  [ -d "$(rustc --print sysroot)/lib/rustlib/$1/lib" ] || {
    command -v rustup >/dev/null && rustup target add "$1" >/dev/null 2>&1
  }
}
