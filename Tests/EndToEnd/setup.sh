#!/bin/sh
# Makes the virtual environment of the end-to-end tests in .build/venv, once. Needs Python 3.9 or
# newer with venv (Debian: python3-venv), and a package index.
set -eu
root=$(cd "$(dirname "$0")/../.." && pwd)
venv=$root/.build/venv
wanted=$(cksum <"$root/Tests/EndToEnd/requirements.txt")
[ -f "$venv/.ready" ] && [ "$(cat "$venv/.ready")" = "$wanted" ] && exit 0
python3 -m venv "$venv"
"$venv/bin/python" -m pip --quiet --disable-pip-version-check install \
  -r "$root/Tests/EndToEnd/requirements.txt"
echo "$wanted" >"$venv/.ready"
