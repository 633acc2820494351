#!/bin/sh
# Sees to it that everything heapstorm is built and tested with is installed.
#
#   setup.sh           installs what is missing with apt-get (with sudo where not root) and says what; silent when nothing is missing.
#                      Where that is not possible, prints the line to type and exits 3.
#   setup.sh --bench   the same, and the allocators that heapstorm bench compares with, and valgrind
#   setup.sh --extras  the same, and what some tests and replay --gdb use where it is there: gdb, chromium, ccache, libclang
#   setup.sh --afl     the same, and AFL++
#   setup.sh --aarch64  the same, and what builds and runs programs for 64-bit ARM: cross gcc, qemu-user, libraries of that architecture
#   setup.sh --check   installs nothing: exits 3 with one line on what is missing.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
mode=${1:-}
packages=

need() { # package...
	packages="$packages $*"
}

need_file() { # package pattern...
	package=$1
	shift
	for file; do
		[ ! -e "$file" ] || return 0
	done
	need "$package"
}

need_program() { # program package
	command -v "$1" >/dev/null || need "$2"
}

# Version $1 (1.2.3) is at least $2.$3?
at_least() {
	major=${1%%.*}
	rest=${1#*.}
	minor=${rest%%.*}
	[ "$major" -gt "$2" ] || { [ "$major" -eq "$2" ] && [ "$minor" -ge "$3" ]; }
}

clang_package() { # the newest that the archive has
	for version in 19 20 18 17 16; do
		if apt-cache show "clang-$version" "libclang-rt-$version-dev" >/dev/null 2>&1; then
			echo "clang-$version libclang-rt-$version-dev llvm-$version"
			return
		fi
	done
	echo clang-19 libclang-rt-19-dev llvm-19
}

missing() { # sets `packages`
	packages=
	if found=$(sh "$here/find_clang.sh"); then
		clang=$(echo "$found" | sed -n 1p)
		symbolizer=$(echo "$found" | sed -n 2p)
		if [ -z "$symbolizer" ]; then
			version=$("$clang" --version | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
			need "llvm-$version"
		fi
	else
		need $(clang_package)
	fi

	if command -v cmake >/dev/null; then
		version=$(cmake --version | sed -n 's/^cmake version //p')
		at_least "$version" 3 25 || need cmake
	else
		need cmake
	fi
	need_program ninja ninja-build
	need_program gcc gcc
	need_program objcopy binutils
	need_program make make
	need_program patch patch
	need_program gnuplot gnuplot-nox
	need_program python3 python3
	need_program perl perl
	need_program git git
	need_program help2man help2man
	need_program pkg-config pkgconf
	need_program zip zip
	need_program unzip unzip
	need_program sqlite3 sqlite3
	need_program redis-server redis-server
	need_program redis-benchmark redis-tools

	if [ "$mode" = --extras ]; then
		need_program gdb gdb
		need_program ccache ccache
		llvm=$("${clang:-clang-19}" --version 2>/dev/null | sed -n 's/.*clang version \([0-9]*\).*/\1/p')
		need_file "python3-clang-${llvm:-19}" /usr/lib/python3/dist-packages/clang/cindex.py
		need_file "libclang-${llvm:-19}-dev" "/usr/lib/llvm-${llvm:-19}/lib/libclang-${llvm:-19}.so"
		command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || need chromium
	fi
	if [ "$mode" = --afl ]; then
		need_program afl-fuzz afl++
		need_file libclang-common-14-dev /usr/lib/llvm-*/lib/clang/14*/include
	fi
	if [ "$mode" = --aarch64 ]; then
		need_program aarch64-linux-gnu-gcc gcc-aarch64-linux-gnu
		need_file libc6-dev-arm64-cross /usr/aarch64-linux-gnu/include/stdio.h
		need_program qemu-aarch64 qemu-user
		for library in cmocka cjson zstd; do
			need_file lib$library-dev:arm64 /usr/lib/aarch64-linux-gnu/lib$library.so
		done
	fi
	if [ "$mode" = --bench ]; then
		need_program valgrind valgrind
		need_file libjemalloc2 /usr/lib/*/libjemalloc.so.2 /usr/local/lib/libjemalloc.so.2
		need_file libmimalloc2.0 /usr/lib/*/libmimalloc.so.[23] /usr/local/lib/libmimalloc.so.[23]
		need_file libtcmalloc-minimal4 /usr/lib/*/libtcmalloc_minimal.so.4 /usr/local/lib/libtcmalloc_minimal.so.4
		need_file libtbbmalloc2 /usr/lib/*/libtbbmalloc_proxy.so.2 /usr/local/lib/libtbbmalloc_proxy.so.2
	fi

	# Headers are asked of a compiler, which knows where they may be.
	for compiler in "${clang:-}" gcc; do
		if [ -n "$compiler" ] && command -v "$compiler" >/dev/null; then
			break
		fi
		compiler=
	done
	headers='stdlib.h libc6-dev cmocka.h libcmocka-dev cjson/cJSON.h libcjson-dev zstd.h libzstd-dev'
	if [ -n "$compiler" ]; then
		set -- $headers
		source='#include <stddef.h>
#include <stdarg.h>
#include <setjmp.h>
#include <stdint.h>
'
		while [ $# -gt 0 ]; do
			source="$source#if !__has_include(<$1>)
missing $2
#endif
"
			shift 2
		done
		need $(printf '%s' "$source" | "$compiler" -E -P -x c - 2>/dev/null | sed -n 's/^missing //p')
	else
		need libc6-dev libcmocka-dev libcjson-dev libzstd-dev
	fi
	packages=$(echo $packages)
}

missing
[ -z "$packages" ] && exit 0

root=
[ "$(id -u)" = 0 ] || root="sudo "
line="${root}apt-get install --no-install-recommends $packages"

if [ "${1:-}" = --check ]; then
	echo "heapstorm: missing: $packages (make setup)" >&2
	exit 3
fi
if ! command -v apt-get >/dev/null; then
	echo "heapstorm: missing packages; on Debian: $line" >&2
	exit 3
fi
if [ -n "$root" ] && { ! command -v sudo >/dev/null || { ! [ -t 0 ] && ! sudo -n true 2>/dev/null; }; }; then
	echo "heapstorm: missing packages; type: $line" >&2
	exit 3
fi

echo "heapstorm: installing $packages"
# A database server of the tests is not to run as a service: a policy of 101 keeps dpkg from starting it.
policy=/usr/sbin/policy-rc.d
made_policy=
case " $packages " in
*" redis-server "*)
	if ! [ -e $policy ] && printf '#!/bin/sh\nexit 101\n' | ${root}tee $policy >/dev/null && ${root}chmod +x $policy; then
		made_policy=1
	fi
	;;
esac
cleanup() {
	[ -z "$made_policy" ] || ${root}rm -f $policy
}
trap cleanup EXIT
log=$(mktemp)
case $packages in
*:arm64*) ${root}dpkg --add-architecture arm64 ;;
esac
if ! ${root}apt-get -qq update >"$log" 2>&1 ||
	! { # The archive's list may have been empty before: the newest clang is looked up again.
		missing
		${root}env DEBIAN_FRONTEND=noninteractive apt-get -qq -y install --no-install-recommends $packages >>"$log" 2>&1
	}; then
	tail -n 20 "$log" >&2
	rm -f "$log"
	echo "heapstorm: could not install; type: $line" >&2
	exit 3
fi
rm -f "$log"
missing
if [ -n "$packages" ]; then
	echo "heapstorm: still missing: $packages" >&2
	exit 3
fi
