#!/usr/bin/env bash
# Makes an environment with torch, torchvision, spandrel, lpips and pyiqa (some 8 GB), and runs the tests that need them.
#     bash benchmarks/with_torchvision.sh [FOLDER]      FOLDER: of the environment, kept for the next time
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-.venv-torchvision}
if [ ! -x "$folder/bin/pytest" ]; then
  python3 -m venv "$folder"
  # Not by constraints.txt, whose torch has no torchvision beside it on machines without a GPU.
  "$folder/bin/pip" install -q torch==2.14.1 torchvision==0.29.1
  "$folder/bin/pip" install -q -e '.[dev,models,eval-research]' torch==2.14.1 torchvision==0.29.1
fi
"$folder/bin/python" -m pytest -n 0 tests/with_torchvision "${@:2}"
