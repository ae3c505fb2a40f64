#!/usr/bin/env bash
# One call of the reproduction; the same command goes on: ogbench_gpu.sh RESULTS [OPTIONS of ogbench_gpu.py]
# RESULTS gets the tables, with what docs/results/ogbench-gpu has from earlier machines. Where the
# variable WHEELS names a folder of wheels, they are installed beside the data first.
set -euo pipefail
results=$(realpath -m "${1:?give the folder of the results}"); shift
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
if [ -n "${WHEELS:-}" ] && [ ! -e runs/site/.ready ]; then
  "$python" -m pip install -q --no-index --no-deps --no-compile --upgrade --target runs/site "$WHEELS"/*.whl
  touch runs/site/.ready
fi
mkdir -p "$results"
case " $* " in *" --small "*) ;; *) cp -n docs/results/ogbench-gpu/* "$results" 2>/dev/null || true ;; esac
export PYTHONPATH="$PWD/src:$PWD/runs/site${PYTHONPATH:+:$PYTHONPATH}" PYTHONUNBUFFERED=1
exec "$python" -m reproductions.ogbench_gpu --results "$results" "$@"
