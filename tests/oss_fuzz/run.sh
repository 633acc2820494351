# fuzz/build.sh in the environment of OSS-Fuzz: run.sh HEAPSTORM SOURCE CLANG SANITIZER ENGINE. What is built is copied to another folder and run there
# in an empty environment; with a mistake planted in an allocator it is found there.
. "$2/tests/cli/common.sh"
clang=$3 sanitizer=$4 engine=$5
version=$(basename "$clang" | sed 's/^clang//')
export SANITIZER="$sanitizer" FUZZING_ENGINE="$engine" ARCHITECTURE=x86_64 FUZZING_LANGUAGE=c
export CC="$clang" CXX="$(dirname "$clang")/clang++$version" LIB_FUZZING_ENGINE=-fsanitize=fuzzer

# As base-builder sets them.
flags='-O1 -fno-omit-frame-pointer -gline-tables-only -DFUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION'
checks=array-bounds,bool,builtin,enum,function,integer-divide-by-zero,null,object-size,return,returns-nonnull-attribute,shift
checks=$checks,signed-integer-overflow,unreachable,vla-bound,vptr
case $sanitizer in
address) flags="$flags -fsanitize=address -fsanitize-address-use-after-scope" ;;
undefined) flags="$flags -fsanitize=$checks,unsigned-integer-overflow -fno-sanitize-recover=$checks" ;;
memory) flags="$flags -fsanitize=memory -fsanitize-memory-track-origins" ;;
thread) flags="$flags -fsanitize=thread" ;;
coverage) flags="$flags -fprofile-instr-generate -fcoverage-mapping" ;;
esac
case $engine in
libfuzzer) [ "$sanitizer" = coverage ] || flags="$flags -fsanitize=fuzzer-no-link" ;;
none) LIB_FUZZING_ENGINE= ;;
esac
export CFLAGS="$flags" CXXFLAGS="$flags"
case $sanitizer in
address | undefined) targets='fuzz_sequence fuzz_threads fuzz_formats' ;;
memory) targets=fuzz_formats ;;
*) targets='fuzz_sequence fuzz_formats' ;;
esac

build() { # sources
	export OUT="$work/built" WORK="$work/objects" SRC="$1"
	rm -rf "$OUT" "$WORK"
	mkdir "$OUT" "$WORK"
	expect 0 bash "$1/fuzz/build.sh"
}

build "$source_folder"
cp -R "$OUT" elsewhere
for target in $targets; do
	mkdir "elsewhere/seeds of $target"
	expect 0 unzip -q "elsewhere/${target}_seed_corpus.zip" -d "elsewhere/seeds of $target"
	[ -f "elsewhere/$target.options" ] || {
		echo "no options of $target"
		failures=$((failures + 1))
	}
	cd elsewhere || exit 1
	if [ "$engine" = none ]; then
		expect 0 env -i "./$target" "seeds of $target"/*
	else
		expect 0 env -i "./$target" -runs=300 -max_len=4096 "seeds of $target"
	fi
	cd ..
	says err 'DONE|nothing found'
done
rm -rf elsewhere

# The mistake: what a copy of the sources with a planted patch gives has to be found there.
if [ "$sanitizer" = address ] && [ "$engine" = libfuzzer ]; then
	mkdir planted
	cp -R "$source_folder"/alloc "$source_folder"/harness "$source_folder"/fuzz "$source_folder"/stress "$source_folder"/cmake \
		"$source_folder"/corpus planted/
	sed '1,/^$/d' "$source_folder/tests/planted/calloc-tail-dirty.patch" >mistake
	expect 0 patch -s -F0 -p1 -d planted -i "$PWD/mistake"
	build "$PWD/planted"
	cp -R "$OUT" elsewhere
	mkdir "elsewhere/empty"
	(cd elsewhere && env -i ./fuzz_sequence -max_total_time=60 -max_len=4096 empty >"$work/out.log" 2>"$work/err")
	if ! grep -q '^verdict: not-zeroed$' "$work/err"; then
		echo 'the planted mistake was not found:'
		tail -20 "$work/err"
		failures=$((failures + 1))
	fi
fi
finish
