#!/bin/sh
# Looks for every planted bug, or for those named: run.sh --help
exec python3 "$(dirname "$0")/planted.py" run "$@"
