# What the scripts beside it share: a folder for what they install, and a daemon for as long as they run.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/clients
target=${CARGO_TARGET_DIR:-$root/target}
cache=$target/clients
mkdir -p "$cache"

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

need() { # command, what to install
  command -v "$1" > /dev/null || fail "$1 is not installed: install $2"
}

# The Python environment of requirements.txt; made anew only when that changes.
install_python() {
  need python3 "Python 3.10 or later, with venv and pip"
  if ! cmp -s "$here/requirements.txt" "$cache/python/requirements.txt"; then
    rm -rf "$cache/python"
    python3 -m venv "$cache/python" || fail "python3 cannot make environments: install its module venv"
    "$cache/python/bin/pip" install --quiet --disable-pip-version-check --requirement "$here/requirements.txt"
    cp "$here/requirements.txt" "$cache/python"
  fi
}

# The binary of POSTRIDER, or one that is built here.
daemon_binary() {
  if [ -n "${POSTRIDER:-}" ]; then
    printf '%s\n' "$POSTRIDER"
  else
    (cd "$root" && cargo build --quiet --locked -p postrider-daemon)
    printf '%s\n' "$target/debug/postrider"
  fi
}

# Starts a daemon on a free port with a folder of its own; sets `url`. It ends with this script.
start_daemon() {
  postrider=$(daemon_binary)
  data=$(mktemp -d "$cache/data.XXXXXX")
  POSTRIDER_LOG_LEVEL=warn "$postrider" serve --dev --listen 127.0.0.1:0 --data "$data" > "$data/said" 2> "$data/log" &
  daemon=$!
  trap stop_daemon EXIT
  for _ in $(seq 300); do
    url=$(sed -n 's/^listening on //p' "$data/said")
    if [ -n "$url" ] && grep -q '^organisation token: ' "$data/said"; then
      return
    fi
    kill -0 "$daemon" 2> /dev/null || fail "the daemon ended at once: $(cat "$data/log")"
    sleep 0.1
  done
  fail "the daemon did not listen within 30 s: $(cat "$data/log")"
}

# A token of an organisation.
token_of() { # id of the organisation
  "$postrider" token create --dev --data "$data" --organisation "$1"
}

# The exit code of the script is kept; a daemon that does not end well is a failure, too.
stop_daemon() {
  local code=$? ended=0
  trap - EXIT
  kill "$daemon" 2> /dev/null || true
  wait "$daemon" || ended=$?
  if [ "$code" != 0 ] || [ "$ended" != 0 ]; then
    printf 'the daemon ended with %s and logged:\n' "$ended" >&2
    tail -n 50 "$data/log" >&2
  fi
  rm -rf "$data"
  if [ "$code" = 0 ]; then code=$ended; fi
  exit "$code"
}
