#!/usr/bin/env bash
# Asks Broadloom and its peers the same questions about the same events.
#   benches/compare.sh [EVENTS] [--help …]     default 2000000; needs cargo, python3, a few GB in $TMPDIR
#   BROADLOOM=path benches/compare.sh          measures that program instead of building one
set -euo pipefail
cd "$(dirname "$0")/.."
python=${XDG_CACHE_HOME:-$HOME/.cache}/broadloom/bench-venv
if [ ! -x "$python/bin/python" ] || ! "$python/bin/python" -c 'import duckdb, chdb, pyarrow' 2>/dev/null; then
    python3 -m venv "$python"
    "$python/bin/pip" install --quiet duckdb chdb pyarrow
fi
if [ -z "${BROADLOOM:-}" ]; then
    cargo build --release --bin broadloom
    BROADLOOM=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/broadloom
fi
exec "$python/bin/python" benches/compare.py --broadloom "$BROADLOOM" "$@"
