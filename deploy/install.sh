#!/usr/bin/env bash
# Installs the agent on a 64-bit Raspberry Pi (or any Debian 12) as a systemd service.
# Run it as root from a checkout: sudo bash deploy/install.sh
# Repeating it upgrades; settings, key and store are never touched.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=${PREFIX:-/opt/sottovoce}
settings=${SETTINGS:-/etc/sottovoce}
python=${PYTHON:-python3.11}

refuse() { printf '%s\nRemedy: %s\n' "$1" "$2" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || refuse "The service can only be installed by root." "sudo bash deploy/install.sh"
case $(uname -m) in
  aarch64|x86_64) ;;
  *) refuse "This is $(uname -m): ONNX Runtime has no 32-bit build." "Install the 64-bit Raspberry Pi OS." ;;
esac
command -v apt-get >/dev/null || refuse "This is not a Debian system." "Follow this script by hand."

export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
apt-get install -y -qq --no-install-recommends gcc portaudio19-dev python3-dev python3-venv libgl1 >/dev/null
command -v "$python" >/dev/null || python=python3
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  refuse "Python 3.11 is needed; this system has $("$python" -V)." "Use Debian 12 (bookworm), or PYTHON=/path/to/python3.11."

id sottovoce >/dev/null 2>&1 ||
  useradd --system --home-dir /var/lib/sottovoce --shell /usr/sbin/nologin --groups audio,video sottovoce
install -d -m 0755 "$prefix" "$settings"
[ -x "$prefix/venv/bin/python" ] || "$python" -m venv "$prefix/venv"
# Only what a device needs, at the versions that work together (see DECISIONS.md, 2).
"$prefix/venv/bin/pip" install --quiet --no-deps -r deploy/requirements/device.txt
"$prefix/venv/bin/pip" install --quiet --no-deps --force-reinstall .
install -m 0644 README.md "$prefix/README.md"

if [ ! -e "$settings/sottovoce.toml" ]; then
  sed 's|^state = .*|state = "/var/lib/sottovoce"|' deploy/sottovoce.toml > "$settings/sottovoce.toml"
fi
if [ -d /run/systemd/system ]; then
  install -m 0644 deploy/sottovoce.service /etc/systemd/system/sottovoce.service
  systemctl daemon-reload
  systemctl enable --now sottovoce.service
  echo "Sotto voce runs. Its page, on this machine only: http://127.0.0.1:8765"
else
  echo "Installed in $prefix; this system has no systemd, start it with:"
  echo "  $prefix/venv/bin/sottovoce run --config $settings/sottovoce.toml"
fi
