#!/usr/bin/env bash
# Prepares a checkout: system packages where it may, a virtual environment, the locked packages.
# Usage: deploy/set_up.sh VENV LOCK
set -euo pipefail
venv=$1 lock=$2
python=${PYTHON:-python3.11}
started=$SECONDS

say() { printf '%s\n' "$*" >&2; }

wanted_for() { # the Debian package behind each thing we look for
  command -v gcc >/dev/null || echo gcc
  [ -e /usr/include/portaudio.h ] || echo portaudio19-dev
  command -v mosquitto >/dev/null || [ -x /usr/sbin/mosquitto ] || echo mosquitto
  command -v pulseaudio >/dev/null || echo pulseaudio
  command -v pactl >/dev/null || echo pulseaudio-utils
  [ -n "$(find /usr/lib -name 'libasound_module_pcm_pulse.so' -print -quit 2>/dev/null)" ] || echo libasound2-plugins
  command -v chromium >/dev/null || echo chromium
  command -v strace >/dev/null || echo strace
  command -v gdb >/dev/null || echo gdb
  command -v "$python" >/dev/null || command -v python3 >/dev/null || echo python3-venv
}

mapfile -t missing < <(wanted_for)
if [ ${#missing[@]} -gt 0 ]; then
  if command -v apt-get >/dev/null; then
    as_root=()
    if [ "$(id -u)" -ne 0 ]; then
      if command -v sudo >/dev/null && sudo -n true 2>/dev/null; then as_root=(sudo -n)
      else say "These system packages are missing: ${missing[*]}."
           say "Remedy: sudo apt-get install ${missing[*]}   then run make again."; exit 1; fi
    fi
    say "Installing system packages: ${missing[*]}"
    export DEBIAN_FRONTEND=noninteractive
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  else
    say "These programs are missing and this is not a Debian system: ${missing[*]}."
    say "Remedy: install them with your package manager, then run make again."; exit 1
  fi
fi

command -v "$python" >/dev/null || python=python3
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
if [ "$version" != 3.11 ]; then
  say "Python 3.11 is needed (tflite-runtime has no wheel for others); '$python' is $version."
  say "Remedy: install python3.11, or name it: make PYTHON=/path/to/python3.11 setup"; exit 1
fi
[ -x "$venv/bin/python" ] || "$python" -m venv "$venv"
say "Installing the locked Python packages (about two minutes the first time) …"
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps -r "$lock"
# torch comes by itself: with its dependencies pip would bring a CUDA build of 3 GB.
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps torch==2.13.0
"$venv/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --editable .
say "Set up in $((SECONDS - started)) s."
