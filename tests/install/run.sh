# heapstorm as it is installed: run.sh HEAPSTORM SOURCE. It is moved after the installation, a project outside has its allocator tested with it,
# and a mistake planted there is found.
. "$2/tests/cli/common.sh"
build=$(cd "$(dirname "$heapstorm")/.." && pwd)

expect 0 env DESTDIR="$work/stage" cmake --install "$build" --prefix /opt/first
mv "$work/stage/opt/first" "$work/a moved place"
root="$work/a moved place"
command="$root/bin/heapstorm"

# What is run or read there does not name the build folder (debug information aside).
for file in "$root"/share/heapstorm/*.sh "$root"/lib/cmake/heapstorm/* "$root"/lib/pkgconfig/*; do
	if grep -q "$build" "$file"; then
		echo "$file names the build folder"
		failures=$((failures + 1))
	fi
done

cd "$work" || exit 1
expect 0 "$command" list
expect 0 "$command" replay --allocator mem_alloc,mem_alloc_2.0 "$root/share/heapstorm/corpus/regress/aligned-block-resized.heap"
last_line 'verdict: clean'
expect 0 "$command" fuzz mem_alloc --runs 200
last_line 'verdict: clean'
expect 0 "$command" record -o cat.rec -- cat "$root/bin/heapstorm"
expect 0 "$command" show cat.rec

# Manual pages: what --help lists, each option.
for verb in fuzz stress explore replay minimize export show record bench list; do
	page="$root/share/man/man1/heapstorm-$verb.1"
	if [ -d "$root/share/man" ]; then
		for option in $("$command" $verb --help | grep -o '^ *\(-[^-],\)\? *--[a-z-]*' | sed 's/.*--/--/'); do
			if ! sed 's/\\-/-/g' "$page" | grep -q -- "$option"; then
				echo "the page of $verb says nothing of $option"
				failures=$((failures + 1))
			fi
		done
	fi
done

# pkg-config, with the allocator that comes with it.
if command -v pkg-config >/dev/null; then
	cat >use.c <<'END'
#include <mem_alloc_2.0.h>
int main(void)
{
	char *block = my_malloc_2_0(100);
	block[0] = 1;
	my_free_2_0(block);
	return 0;
}
END
	export PKG_CONFIG_PATH="$root/lib/pkgconfig"
	expect 0 sh -c 'eval gcc use.c -o use $(pkg-config --cflags --libs heapstorm)'
	expect 0 ./use
fi

# A project of its own: one allocator with an adapter, one with a prefix.
mkdir "a project"
cp -R "$root/share/doc/heapstorm/examples/." "a project"
cat >"a project/CMakeLists.txt" <<'END'
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES C)
enable_testing()
find_package(heapstorm 0.1 REQUIRED)
heapstorm_add_allocator(buddy SOURCES buddy.c ADAPTER buddy_adapter.c BUDGET 2s)
heapstorm_add_allocator(bump SOURCES bump.c PREFIX bump_ CFLAGS -DSTEP=16 BUDGET 2s REGRESS two.heap)
END
cat >"a project/bump.c" <<'END'
#include <errno.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>

/* One mapping for each block, with its length before it; STEP comes from the project. */
void *bump_malloc(size_t size)
{
	size_t *start;

	if (size > PTRDIFF_MAX - STEP) {
		errno = ENOMEM;
		return NULL;
	}
	start = mmap(NULL, size + STEP, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (start == MAP_FAILED)
		return NULL;
	*start = size + STEP;
	return (char *)start + STEP;
}

void bump_free(void *block)
{
	if (block != NULL)
		munmap((char *)block - STEP, *(size_t *)((char *)block - STEP));
}
END
cat >"a project/two.heap" <<'END'
heapstorm 1
thread main
  a = malloc 24
  b = malloc 100
  free a
END
expect 0 cmake -S "a project" -B "a build" -DCMAKE_PREFIX_PATH="$root" -DCMAKE_C_COMPILER=gcc
expect 0 cmake --build "a build"
expect 0 ctest --test-dir "a build" --output-on-failure
says out '100% tests passed, 0 tests failed out of 9'
expect 0 cmake --build "a build" --target bump-replay
# Nothing is built twice.
expect 0 cmake --build "a build"
if grep -q "for heapstorm" "$work/out"; then
	echo "an up-to-date project is built again:"
	cat "$work/out"
	failures=$((failures + 1))
fi

# A mistake: the build notices the change, the tests find it, the file replays.
expect 0 patch -s -F0 -p2 -d "a project" -i "$source_folder/tests/adapters/buddy-merges-used.patch"
expect 0 cmake --build "a build"
expect 8 ctest --test-dir "a build" --output-on-failure -R 'buddy.fuzz$'
says out '^verdict: (overlap|corruption|touched-live|crash)$'
set -- "a build"/heapstorm-failures/*/program.heap
expect 1 "$command" replay "$1"
says out '^verdict: (overlap|corruption|touched-live|crash)$'
finish
