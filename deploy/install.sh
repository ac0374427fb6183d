#!/usr/bin/env bash
# Installs the agent on a 64-bit Raspberry Pi (or any Debian 12) as a systemd service.
# Run it as root from a checkout: sudo bash deploy/install.sh
# Repeating it upgrades; settings, key and store are never touched.
# Other places: PREFIX=/opt/sottovoce SETTINGS=/etc/sottovoce PYTHON=/usr/bin/python3.11
# ROOT=FILE pins the first root of the study's update keys (metadata/1.root.json of its repository,
# from somebody you trust): only then are releases that the study publishes installed from there on.
set -euo pipefail
umask 022
prefix=$(realpath -m "${PREFIX:-/opt/sottovoce}")
settings=$(realpath -m "${SETTINGS:-/etc/sottovoce}")
python=${PYTHON:-/usr/bin/python3.11}
root=${ROOT:+$(realpath "$ROOT")}
state=/var/lib/sottovoce
trust=/var/lib/sottovoce-updates
releases=$prefix/releases
cd "$(dirname "$0")/.."

refuse() { printf '%s\nRemedy: %s\n' "$1" "$2" >&2; exit 1; }

[ "$(id -u)" -eq 0 ] || refuse "The service can only be installed by root." "sudo bash deploy/install.sh"
case $(uname -m) in
  aarch64|x86_64) ;;
  *) refuse "This is $(uname -m): ONNX Runtime has no 32-bit build." "Install the 64-bit Raspberry Pi OS." ;;
esac
command -v apt-get >/dev/null || refuse "This is not a Debian system." "Follow this script by hand."

export DEBIAN_FRONTEND=noninteractive
{ apt-get update -qq && apt-get install -y -qq --no-install-recommends \
    gcc libc6-dev portaudio19-dev python3-dev python3-venv >/dev/null; } ||
  refuse "The system packages could not be installed; apt says why above." "Check the network, then repeat."
command -v "$python" >/dev/null ||
  refuse "There is no '$python' here." "Use Debian 12 (bookworm), or name one: PYTHON=/path/to/python3.11."
"$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' ||
  refuse "Python 3.11 is needed; '$python' is $("$python" -V)." "Name one: PYTHON=/path/to/python3.11."

id sottovoce >/dev/null 2>&1 ||
  useradd --system --user-group --home-dir "$state" --shell /usr/sbin/nologin sottovoce
usermod --append --groups audio,video sottovoce
install -d -m 0755 "$prefix" "$settings"
install -d -m 0700 -o sottovoce -g sottovoce "$state"

# Code belongs to root. The agent runs as somebody who can't write it: an update that the agent has
# fetched is checked anew, and installed, by sottovoce-update.service.
install -d -m 0755 "$releases" "$prefix/wheels"
install -d -m 0700 "$trust"
installer() { "$1/bin/python" -I -m agent.updates.installer --prefix "$prefix" --state "$state" --trust "$trust" "${@:2}"; }
for slot in a b; do # a release that failed is gone back from before its slot is filled
  if [ -e "$releases/$slot.label" ]; then installer "$releases/$slot" settle || true; fi
done
idle=a
if [ "$(readlink "$releases/current" || true)" = a ]; then idle=b; fi
rm -f "$releases/$idle.label" # from here on there is nothing that could be switched to
rm -rf "$releases/$idle" "$releases/$idle".{committed,failed,why,probation}

# A virtual environment can't be moved: it is made where it stays.
"$python" -m venv "$releases/$idle"
house=$(mktemp -d)
source=$(mktemp -d)
trap 'rm -rf "$house" "$source"' EXIT
pip() {
  "$releases/$idle/bin/python" -m pip "$@" ||
    refuse "The Python packages could not be installed; pip says why above." "Check the network and the disk, then repeat."
}
# Only what a device needs, at the versions that work together (DECISIONS.md, 2).
pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$house" -r deploy/requirements/device.txt
# A build leaves its traces beside the source, and takes up those of an older one: not here.
cp -r pyproject.toml README.md LICENSE agent edge_models sync "$source"
pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir "$house" "$source"
pip install --quiet --disable-pip-version-check --no-deps --no-index "$house"/*.whl
install -m 0644 README.md "$prefix/README.md"
runuser -u sottovoce -- "$releases/$idle/bin/sottovoce" --version >/dev/null ||
  refuse "The user 'sottovoce' can't run what is in $prefix." "Choose a PREFIX and a PYTHON that every user may read."
# What judges a release must not come with it: the launcher is outside, and only this script puts it.
install -m 0644 agent/updates/launch.py "$prefix/.launch.py.new"
mv "$prefix/.launch.py.new" "$prefix/launch.py"
installer "$releases/$idle" adopt "$idle" "$house" ||
  refuse "The new version could not be switched to." "See above; what ran before still does."
ln -sfn releases/current "$prefix/current"
if [ -n "$root" ]; then
  installer "$prefix/current" pin "$root" || refuse "The study's update keys were not pinned." "See above."
fi

if [ ! -e "$settings/sottovoce.toml" ]; then
  sed "s|^state = .*|state = \"$state\"|" deploy/sottovoce.toml > "$settings/.sottovoce.toml"
  mv "$settings/.sottovoce.toml" "$settings/sottovoce.toml"
fi

# Where the kernel keeps no account of memory (Raspberry Pi OS), the unit can't forbid swapping.
if [ "$(wc -l < /proc/swaps)" -gt 1 ] && ! grep -qw memory /sys/fs/cgroup/cgroup.controllers 2>/dev/null; then
  echo "Beware: swap is on, and this kernel can't keep the agent's memory out of it." >&2
  echo "Remedy: add cgroup_enable=memory to /boot/firmware/cmdline.txt and start again, or turn swap off." >&2
fi

if [ -d /run/systemd/system ]; then
  for unit in sottovoce.service sottovoce-update.service sottovoce-update.path; do
    sed "s|/opt/sottovoce|$prefix|g; s|/etc/sottovoce/|$settings/|; s|/usr/bin/python3.11|$python|" \
      "deploy/$unit" > "/etc/systemd/system/$unit"
  done
  systemctl daemon-reload
  systemctl enable --quiet sottovoce.service sottovoce-update.path
  systemctl restart sottovoce-update.path sottovoce.service
  sleep 5 # a setting that can't be used ends it at once
  systemctl is-active --quiet sottovoce.service ||
    refuse "The agent did not stay up." "Read why: journalctl --unit sottovoce --lines 20"
  echo "Sotto voce runs. Its page is for this machine only: journalctl --unit sottovoce --grep 'Your page'"
else
  echo "Installed in $prefix; this system has no systemd, start it with:"
  echo "  runuser -u sottovoce -- $python -I $prefix/launch.py --state $state run --config $settings/sottovoce.toml"
fi
# Where it was before there were releases: the old path still works.
if [ -d "$prefix/venv" ] && [ ! -L "$prefix/venv" ]; then
  rm -rf "$prefix/venv"
  ln -s current "$prefix/venv"
fi
