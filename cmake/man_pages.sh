#!/bin/sh
# Makes the manual pages heapstorm.1 and heapstorm-VERB.1 from what --help says: man_pages.sh HELP2MAN HEAPSTORM VERSION FOLDER
set -eu
help2man=$1 version=$3 folder=$4
# help2man takes its argument as words of a command.
cd "$(dirname "$2")"
mkdir -p "$folder"

page() { # name summary command
	"$help2man" --no-info --section=1 --version-string="$version" --name="$2" "$3" |
		sed -e "s/^\\.TH [^ ]* \"1\" \\(\"[^\"]*\"\\) \"[^\"]*\"/.TH \"$(echo "$1" | tr a-z A-Z)\" \"1\" \\1 \"heapstorm $version\"/" \
			-e "/^\\.SH NAME/{n;s/^.* \\\\- /$(echo "$1" | sed 's/-/\\\\-/') \\\\- /;}" >"$folder/$1.1"
	[ -s "$folder/$1.1" ]
}

verbs=$(./heapstorm --help | sed -n 's/^  \([a-z][a-z]*\)  .*/\1/p')
for verb in $verbs; do
	summary=$(./heapstorm --help | sed -n "s/^  $verb  *//p")
	page "heapstorm-$verb" "$summary" "./heapstorm $verb"
done
page heapstorm "stress and fuzz harness for memory allocators" ./heapstorm
{
	echo '.SH "SEE ALSO"'
	for verb in $verbs; do
		echo ".BR heapstorm\\-$verb (1)"
	done
} >>"$folder/heapstorm.1"
