#!/bin/sh
# Pin requirements.txt and requirements-dev.txt, with hashes, from pyproject.toml.
#
# One set of versions serves every Python from 3.11 on and every platform (by environment
# markers); wheels only, so that no compiler is needed.  Pins that still fit are kept;
# `--upgrade` or `--upgrade-package NAME` moves them.  `make lock` calls this.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
"${PYTHON:-python3}" -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip --disable-pip-version-check install --quiet \
    --only-binary :all: "uv>=0.9"

# pin OUTPUT ARGUMENT...: resolve, then replace OUTPUT whole.
pin() {
    output=$1
    shift
    if [ -e "$output" ]; then cp "$output" "$folder/$output"; fi
    "$folder/venv/bin/uv" pip compile pyproject.toml --quiet \
        --universal --python-version 3.11 --fork-strategy fewest \
        --only-binary :all: --generate-hashes --no-emit-package opencv-python \
        --no-emit-package openvino-telemetry \
        --no-header --no-annotate --no-emit-index-url --no-emit-find-links \
        --extra weights --group build --output-file "$folder/$output" "$@" >/dev/null
    {
        echo "# Made by \`make lock\` from pyproject.toml; do not edit.  Install with --no-deps: insightface"
        echo "# asks for a second ONNX Runtime and a second OpenCV, which are left out here on purpose."
        # OpenVINO's telemetry is left out too; nothing of it is imported.
        grep -v '^# The following packages were excluded\|^# open[cv]' "$folder/$output"
    } >"$folder/whole"
    cat "$folder/whole" >"$output"
}

pin requirements.txt "$@"
pin requirements-dev.txt --group dev --constraint requirements.txt "$@"
