# Shared by the scripts: makes the virtual environment and installs what is needed. Sourced, not run.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
venv=${NRF91_BRIDGE_VENV:-$root/.venv}
cd "$root"

say() { printf '%s\n' "$*" >&2; }

# Debian packages that a fresh machine may lack; asks for root rights only when something is missing.
need_packages() {
  command -v apt-get >/dev/null || { say "Please install: $*"; exit 9; }
  local as_root=()
  [ "$(id -u)" = 0 ] || as_root=(sudo)
  say "Installing $* ..."
  "${as_root[@]}" apt-get update -qq || say "The package lists could not all be renewed; trying with those that are here."
  DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq --no-install-recommends "$@" >/dev/null
}

find_python() {
  local python
  for python in python3.13 python3.12 python3.11 python3; do
    if command -v "$python" >/dev/null && "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      printf '%s' "$python"
      return
    fi
  done
  say "Python 3.11 or later is needed, and was not found."
  exit 2
}

# install EXTRA: the virtual environment with the project (editable) and one of its extras.
install() {
  local extra=$1 python stamp=$venv/.installed-$1 wanted
  wanted=$(cksum pyproject.toml)
  if [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ]; then return; fi
  if [ ! -x "$venv/bin/pip" ]; then
    python=$(find_python)
    say "Creating the virtual environment $venv ..."
    if ! "$python" -m venv "$venv" 2>/dev/null; then
      rm -rf "$venv"
      need_packages python3-venv
      "$python" -m venv "$venv"
    fi
  fi
  say "Installing nrf91-bridge[$extra] ..."
  "$venv/bin/pip" install --quiet --disable-pip-version-check --editable ".[$extra]"
  printf '%s' "$wanted" >"$stamp"
}

# Real Zephyr and MCUboot programs to test against: smpclient's source package brings them for its own tests.
fetch_real_smp_servers() {
  local version target=$venv/share/real-smp-servers
  version=$("$venv/bin/python" -c 'from importlib.metadata import version; print(version("smpclient"))')
  if [ -f "$target/$version" ]; then return; fi
  say "Fetching real SMP servers (source of smpclient $version) ..."
  rm -rf "$target" && mkdir -p "$target"
  "$venv/bin/pip" download --quiet --disable-pip-version-check --no-deps --no-binary :all: --dest "$target" \
    "smpclient==$version"
  tar -xzf "$target"/smpclient-*.tar.gz -C "$target" --strip-components=4 --wildcards '*/tests/fixtures/smp-server/*'
  rm "$target"/smpclient-*.tar.gz
  touch "$target/$version"
}

# MQTT.js as its lock file says, from npm's registry, outside the tree.
fetch_mqttjs() {
  local source=hil_tests/contracts/mqttjs target=$venv/share/mqttjs wanted
  wanted=$(cat "$source/package.json" "$source/package-lock.json" | cksum)
  if [ -f "$target/.installed" ] && [ "$(cat "$target/.installed")" = "$wanted" ]; then return; fi
  say "Fetching MQTT.js ..."
  rm -rf "$target" && mkdir -p "$target"
  cp "$source/package.json" "$source/package-lock.json" "$target"
  npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  printf '%s' "$wanted" >"$target/.installed"
}

# labgrid in an environment of its own: its fork of pyserial is installed under the same name as pyserial.
labgrid_environment() {
  local target=${NRF91_BRIDGE_LABGRID:-$venv/share/labgrid} wanted
  wanted=$(cksum pyproject.toml)
  if [ -f "$target/.installed" ] && [ "$(cat "$target/.installed")" = "$wanted" ]; then return; fi
  say "Installing nrf91-bridge[labgrid] into $target ..."
  [ -x "$target/bin/pip" ] || "$(find_python)" -m venv "$target"
  "$target/bin/pip" install --quiet --disable-pip-version-check --editable ".[labgrid]"
  printf '%s' "$wanted" >"$target/.installed"
}
