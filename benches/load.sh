#!/usr/bin/env bash
# Measures ingestion: import of OTLP files, and OTLP/HTTP with 4 connections.
#   benches/load.sh [EVENTS]         default 1000000; needs cargo, python3, a few GB in $TMPDIR
#   BROADLOOM=path benches/load.sh   measures that program instead of building one
set -euo pipefail
cd "$(dirname "$0")/.."
if [ -z "${BROADLOOM:-}" ]; then
    cargo build --release --bin broadloom
    BROADLOOM=$(cargo metadata --format-version 1 --no-deps | python3 -c 'import json,sys; print(json.load(sys.stdin)["target_directory"])')/release/broadloom
fi
exec python3 benches/load.py --broadloom "$BROADLOOM" --events "${1:-1000000}"
