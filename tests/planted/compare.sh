#!/bin/sh
# Time to each planted bug with the mutator of programs and with libFuzzer's own: compare.sh --help
exec python3 "$(dirname "$0")/planted.py" compare "$@"
