#!/bin/sh
# Every relative link of the documents leads to a file that is there: links.sh SOURCE_DIR
set -eu
cd "$1"
count=0 missing=0
for document in *.md docs/*.md; do
	# [text](target#part), one a line; targets with a scheme are elsewhere. true: grep -v fails where a document has no other links.
	for target in $(grep -o '](\([^) ]*\))' "$document" | sed 's/^](//; s/[#)].*$//' | grep -v '^[a-z]*:' || true); do
		[ -n "$target" ] || continue
		count=$((count + 1))
		[ -e "$(dirname "$document")/$target" ] && continue
		echo "$document: no such file: $target"
		missing=1
	done
done
[ "$count" -ge 30 ] || { echo "only $count links found"; exit 1; }
echo "$count links"
exit $missing
