# The packages: package.sh HEAPSTORM SOURCE. Unpacked anywhere they work, and an allocator of one's own is built with them.
. "$2/tests/cli/common.sh"
build=$(cd "$(dirname "$heapstorm")/.." && pwd)

works() { # folder
	expect 0 "$1/bin/heapstorm" fuzz mem_alloc_2.0 --runs 100
	last_line 'verdict: clean'
	expect 0 sh "$1/share/heapstorm/build_allocator.sh" --out mine/first_fit --variant plain --variant fuzz \
		--adapter "$1/share/doc/heapstorm/examples/first_fit_adapter.c" --include "$1/share/doc/heapstorm/examples" \
		"$1/share/doc/heapstorm/examples/first_fit.c"
	expect 0 "$1/bin/heapstorm" fuzz mine/first_fit --runs 100
	last_line 'verdict: clean'
	rm -rf mine
}

cd "$build" || exit 1
expect 0 cpack --config CPackConfig.cmake -B "$work/packages"
cd "$work" || exit 1
mkdir "from tar" "from deb"
expect 0 tar -C "from tar" --strip-components=1 -xzf packages/heapstorm-*.tar.gz
works "$work/from tar"
if command -v dpkg-deb >/dev/null; then
	expect 0 dpkg-deb -x packages/heapstorm_*.deb "from deb"
	works "$work/from deb/usr"
	expect 0 dpkg-deb -f packages/heapstorm_*.deb Package Version Depends
	says out '^Package: heapstorm$'
fi
finish
