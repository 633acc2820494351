#!/bin/sh
# Prints the path of the newest installed clang from 16 on that has its compiler-rt, and on a second line the path of its llvm-symbolizer
# (empty if there is none). Exits 1, printing nothing, when there is no such clang.
#
# Older ones do not do: the ThreadSanitizer of clang 14 reports races on clang 14's own coverage counters.

machine=$(uname -m)

# Are the runtime libraries of libFuzzer, ASan and TSan there for clang $1?
has_runtime() {
	resource=$("$1" -print-resource-dir 2>/dev/null) || return 1
	for directory in "$resource"/lib/*; do
		# The two layouts: lib/linux/libclang_rt.asan-x86_64.a and lib/x86_64-pc-linux-gnu/libclang_rt.asan.a
		for suffix in "-$machine.a" .a; do
			[ -f "$directory/libclang_rt.fuzzer$suffix" ] && [ -f "$directory/libclang_rt.asan$suffix" ] &&
				[ -f "$directory/libclang_rt.tsan$suffix" ] && return 0
		done
	done
	return 1
}

# Prints the first of its arguments that is a program: a name on PATH or a path.
first_program() {
	for program in "$@"; do
		command -v "$program" && return 0
	done
	return 1
}

plain_version=0
if command -v clang >/dev/null; then
	plain_version=$(clang --version 2>/dev/null | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
fi
version=40
while [ $version -ge 16 ]; do
	set -- "clang-$version" "/usr/lib/llvm-$version/bin/clang"
	[ "$plain_version" = $version ] && set -- "$@" clang
	for clang in "$@"; do
		if command -v "$clang" >/dev/null && has_runtime "$clang"; then
			command -v "$clang"
			first_program "llvm-symbolizer-$version" "/usr/lib/llvm-$version/bin/llvm-symbolizer" llvm-symbolizer || echo
			exit 0
		fi
	done
	version=$((version - 1))
done
exit 1
