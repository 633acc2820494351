#!/bin/sh
# Compiles the library parts with gcc: gcc_warnings.sh GCC SOURCE_TREE GENERATED_HEADERS. Any warning fails.
set -eu
gcc=$1 source=$2 generated=$3
object=$(mktemp)
trap 'rm -f "$object"' EXIT
count=0
for file in "$source"/alloc/*.c "$source"/alloc/*/*.c "$source"/harness/*.c "$source"/harness/adapters/*.c "$source"/harness/recorder/*.c "$source"/harness/bundle/snapshot.c "$source"/harness/bundle/prefix.c \
	"$source"/examples/*.c; do
	[ -e "$file" ] || continue
	"$gcc" -std=gnu17 -D_GNU_SOURCE= -O2 -fPIC -Wall -Wextra -Werror -I"$source/alloc" -I"$source/alloc/mem_alloc_2.0" -I"$source/harness" -I"$generated" \
		-I"$generated/../include" -DPREFIX=my_ -DNAME='"my"' -c "$file" -o "$object"
	count=$((count + 1))
done
if [ $count = 0 ]; then
	echo "no sources in $source" >&2
	exit 1
fi
echo "$count files without a warning"
