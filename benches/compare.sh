#!/usr/bin/env bash
# Runs the same queries on Broadloom, DuckDB and ClickHouse, over the same events; see --help.
#   benches/compare.sh [EVENTS] [OPTIONS]   default 2000000; needs cargo, python3 with venv, disk space in $TMPDIR
#   BROADLOOM=path benches/compare.sh       measures that program instead of building one
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${XDG_CACHE_HOME:-$HOME/.cache}/broadloom/bench-venv
if ! "$venv/bin/python" -c 'import chdb, duckdb, pyarrow' 2>/dev/null; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet duckdb chdb pyarrow
fi
case " $* " in *" --help "* | *" -h "*) exec "$venv/bin/python" "$here/compare.py" --broadloom none --help ;; esac
if [ -z "${BROADLOOM:-}" ]; then
    cargo build --release --bin broadloom --manifest-path "$here/../Cargo.toml"
    BROADLOOM=$(cargo metadata --format-version 1 --no-deps --manifest-path "$here/../Cargo.toml" | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/broadloom
fi
exec "$venv/bin/python" "$here/compare.py" --broadloom "$BROADLOOM" "$@"
