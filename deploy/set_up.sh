#!/usr/bin/env bash
# Prepares a checkout: system packages where it may, a virtual environment, the locked packages.
# Usage: deploy/set_up.sh VENV LOCK      (called by make; PYTHON names the interpreter)
set -euo pipefail
venv=$1 lock=$2
python=${PYTHON:-python3.11}
started=$SECONDS

say() { printf '%s\n' "$*" >&2; }
refuse() { say "$1"; say "Remedy: $2"; exit 1; }

check_python() {
  command -v "$python" >/dev/null || refuse "There is no '$python' here." \
    "Install Python 3.11, or name it: make PYTHON=/path/to/python3.11 setup"
  local version
  version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
  [ "$version" = 3.11 ] ||
    refuse "Python 3.11 is needed (tflite-runtime has no wheel for others); '$python' is $version." \
      "Install Python 3.11, or name it: make PYTHON=/path/to/python3.11 setup"
}
# Only Debian's own can still come with the packages; any other is here and right, or never.
[ "$python" = python3.11 ] || check_python

# The Debian package behind each thing that we look for.
needed() { # to build and run
  command -v gcc >/dev/null || printf '%s\n' gcc libc6-dev
  [ -e /usr/include/portaudio.h ] || echo portaudio19-dev
  "$python" -c 'import ensurepip' 2>/dev/null || echo python3-venv
  "$python" -c 'import sys, sysconfig as s; open(s.get_path("include") + "/Python.h").close()' \
    2>/dev/null || echo python3-dev
}
wanted() { # by some tests, which are skipped without; without Mosquitto the demo uses amqtt
  command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || echo mosquitto
  command -v mosquitto_pub >/dev/null || echo mosquitto-clients
  command -v pulseaudio >/dev/null || echo pulseaudio
  command -v pactl >/dev/null || echo pulseaudio-utils
  [ -n "$(find /usr/lib -name libasound_module_pcm_pulse.so -print -quit 2>/dev/null)" ] ||
    echo libasound2-plugins
  command -v chromium >/dev/null || echo chromium
  command -v strace >/dev/null || echo strace
}

as_root=()
may_install() {
  command -v apt-get >/dev/null || return 1
  [ "$(id -u)" -eq 0 ] && return 0
  as_root=(sudo -n)
  command -v sudo >/dev/null && sudo -n true 2>/dev/null
}

mapfile -t needed < <(needed)
mapfile -t wanted < <(wanted)
packages=("${needed[@]}" "${wanted[@]}")
if [ ${#packages[@]} -gt 0 ]; then
  if may_install; then
    say "Installing system packages: ${packages[*]} …"
    export DEBIAN_FRONTEND=noninteractive
    { "${as_root[@]}" apt-get update -qq &&
      "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null; } ||
      refuse "The system packages could not be installed; apt says why above." \
        "Check the network, or install them yourself (${packages[*]}), then run make again."
  elif [ ${#needed[@]} -gt 0 ]; then
    refuse "System packages are missing, and only root may install them: ${packages[*]}." \
      "sudo apt-get install ${packages[*]} (or your system's like), then run make again."
  else
    say "Going on without ${wanted[*]}: the tests that use them are skipped."
    say "Remedy: sudo apt-get install ${wanted[*]} (or your system's like)."
  fi
fi

check_python

[ -x "$venv/bin/pip" ] || "$python" -m venv "$venv"
pip_try() { "$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps "$@"; }
pip_install() {
  pip_try "$@" || refuse "The Python packages could not be installed; pip says why above." \
    "Check the network and the disk, then run make again."
}
say "Installing the locked Python packages (about two minutes the first time) …"
pip_install -r "$lock"
pip_install --editable .
# torch only trains. PyPI's build can't be loaded without 3 GB of CUDA; PyTorch's index has another.
torch=torch==2.13.0+cpu
pip_try "$torch" 2>/dev/null || pip_try --index-url https://download.pytorch.org/whl/cpu "$torch" || {
  say "Going on without torch: all but 'sottovoce train' and its tests works."
  say "Remedy: $venv/bin/pip install $torch from a source that has it, or torch==2.13.0 with 3 GB of CUDA."
}
say "Set up in $((SECONDS - started)) s."
