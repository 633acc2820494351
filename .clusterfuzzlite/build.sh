#!/bin/bash -eu
exec bash "$SRC/heapstorm/fuzz/build.sh"
