#!/bin/bash
# Builds the fuzz targets the way OSS-Fuzz and ClusterFuzzLite want it: with the compilers and options of the environment (CC, CXX, CFLAGS, CXXFLAGS,
# LIB_FUZZING_ENGINE, SANITIZER, FUZZING_ENGINE), into $OUT, each with its seeds, dictionary and options. $WORK is for what is not kept.
# HEAPSTORM_TARGETS, names separated by blanks, builds these alone.
#
# The allocators are compiled with $CFLAGS. The engine is not instrumented: it works on memory that is poisoned for them, and what it covers is
# of no interest. The engine `none`, or an empty LIB_FUZZING_ENGINE, links standalone.c, which runs the files it is given.
set -eu
: "${CC:?}" "${CXX:?}" "${OUT:?}" "${WORK:?}"
source=$(cd "$(dirname "$0")/.." && pwd)
sanitizer=${SANITIZER:-address}
work=$WORK/heapstorm
rm -rf "$work"
mkdir -p "$work" "$OUT/lib"

includes=(-I"$source/harness" -I"$source/alloc" -I"$source/fuzz" -I"$source/stress" -I"$source/stress/schedule" -I"$work")
plain=(-std=gnu17 -D_GNU_SOURCE= -O2 -g -fPIE -pthread)
# The compiler of AFL++ instruments whatever it compiles, but for what a list names: nothing, or all that is plain.
denied=
if [ "${FUZZING_ENGINE:-libfuzzer}" = afl ]; then
	denied=$work/denied
	printf 'src: *\nfun: *\n' >"$denied"
fi
cflags=${CFLAGS:-}
# Unsigned numbers wrap on purpose, which is defined.
[ "$sanitizer" != undefined ] || cflags="$cflags -fno-sanitize=unsigned-integer-overflow"

compile() { # folder option... -- source...
	local folder=$1 options=()
	shift
	while [ "$1" != -- ]; do
		options+=("$1")
		shift
	done
	shift
	mkdir -p "$folder"
	local denylist=()
	[ -z "$denied" ] || [ "${options[*]:0:${#plain[@]}}" != "${plain[*]}" ] || denylist=(env "AFL_LLVM_DENYLIST=$denied")
	for file; do
		"${denylist[@]}" "$CC" "${options[@]}" "${includes[@]}" -c "$file" -o "$folder/$(basename "$file" .c).o"
	done
}

bundle() { # name variant pattern sources...
	local name=$1 variant=$2 pattern=$3
	shift 3
	sh "$source/cmake/bundle_allocator.sh" --name "$name" --variant "$variant" --cc "$CC" --out "$work/$name.$variant.o" --keep "$pattern" \
		--include "$source/alloc" --cflags "$cflags" -- "$@"
}

bundles() { # variant
	bundle mem_alloc "$1" 'my_*' "$source/alloc/os.c" "$source/alloc/mem_alloc.c"
	bundle mem_alloc_2_0 "$1" 'my_*_2_0' "$source/alloc/os.c" "$source"/alloc/mem_alloc_2.0/*.c
}

engine=$(printf '%s ' ${LIB_FUZZING_ENGINE:-})
if [ "${FUZZING_ENGINE:-libfuzzer}" = none ] || [ -z "$engine" ]; then
	compile "$work/standalone" "${plain[@]}" -- "$source/fuzz/standalone.c"
	engine=$work/standalone/standalone.o
fi

# The target and what it needs. Libraries that a machine without them would miss go beside it.
link() { # target object...
	local target=$1
	shift
	"$CXX" ${CXXFLAGS:-} -pthread -o "$OUT/$target" "$@" $engine -lzstd -lcjson -ldl -lm "-Wl,-rpath,\$ORIGIN/lib"
	for library in $(ldd "$OUT/$target" | sed -n 's/.*=> \([^ ]*lib\(zstd\|cjson\)[^ ]*\) .*/\1/p'); do
		[ "$library" -ef "$OUT/lib/$(basename "$library")" ] || cp -L "$library" "$OUT/lib/"
	done
}

wanted() { # target
	case " ${HEAPSTORM_TARGETS:-$1} " in
	*" $1 "*) ;;
	*) return 1 ;;
	esac
}

# Seeds, dictionary and options.
compile "$work/seeds" "${plain[@]}" -- "$source/fuzz/write_seeds.c" \
	"$source"/harness/{program,text,bytes,rep,load,trace,verdict}.c
"$CC" -pthread -o "$work/write_seeds" "$work"/seeds/*.o -lzstd
furnish() { # target
	local folder=$work/seeds-$1
	mkdir -p "$folder"
	"$work/write_seeds" "$1" "$folder" "$source"/corpus/{sequence,threads,regress}/*.heap
	rm -f "$OUT/$1_seed_corpus.zip"
	(cd "$folder" && zip -q -r "$OUT/$1_seed_corpus.zip" .)
	cat >"$OUT/$1.options" <<-END
		[libfuzzer]
		max_len = 4096
		len_control = 20
		rss_limit_mb = 2560
		timeout = 60
		[asan]
		allocator_may_return_null = 1
		detect_leaks = 0
		detect_stack_use_after_return = 0
		quarantine_size_mb = 1
	END
	[ "$1" != fuzz_formats ] || cp "$source/fuzz/heapstorm.dict" "$OUT/$1.dict"
}

engine_sources=()
for file in "$source"/harness/*.c; do
	[ "$(basename "$file")" = runner_main.c ] || engine_sources+=("$file")
done
compile "$work/engine" "${plain[@]}" -O3 -- "${engine_sources[@]}" "$source/harness/bundle/snapshot.c" \
	"$source"/harness/adapters/{builtin,mem_alloc,mem_alloc_2.0,system}.c
compile "$work/mutator" "${plain[@]}" -- "$source"/fuzz/{mutator,mutator_libfuzzer}.c

# MemorySanitizer has to see every write, those of the engine and of the libraries too: only what has no part that is not instrumented can be built.
if [ "$sanitizer" != memory ] && wanted fuzz_sequence; then
	bundles given
	compile "$work/sequence" "${plain[@]}" -- "$source/fuzz/fuzz_sequence.c"
	link fuzz_sequence "$work/sequence/fuzz_sequence.o" "$work"/engine/*.o "$work"/mutator/*.o "$work"/mem_alloc.given.o "$work"/mem_alloc_2_0.given.o
	furnish fuzz_sequence
fi

# The scheduler stands where ThreadSanitizer would.
if { [ "$sanitizer" = address ] || [ "$sanitizer" = undefined ]; } && wanted fuzz_threads; then
	bundles schedgiven
	compile "$work/schedule" "${plain[@]}" -- "$source"/stress/schedule/*.c
	compile "$work/threads" "${plain[@]}" -- "$source/fuzz/fuzz_threads.c"
	link fuzz_threads "$work/threads/fuzz_threads.o" "$work"/schedule/*.o "$work"/engine/*.o "$work"/mutator/*.o \
		"$work"/mem_alloc.schedgiven.o "$work"/mem_alloc_2_0.schedgiven.o
	furnish fuzz_threads
fi

# Here the engine's readers are what is tested.
if wanted fuzz_formats; then
	compile "$work/formats" -std=gnu17 -D_GNU_SOURCE= -fPIE -pthread $cflags -- "$source"/fuzz/{fuzz_formats,mutator}.c \
		"$source"/harness/{program,text,bytes,rep,load,trace,verdict}.c
	link fuzz_formats "$work"/formats/*.o
	furnish fuzz_formats
fi
