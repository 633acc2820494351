# The allocators on an OS with larger pages: run.sh HEAPSTORM SOURCE CC PAGES.so TEST_MEM_ALLOC LIBRARY...
. "$2/tests/cli/common.sh"
compiler=$3 unit_test=$5
# LD_PRELOAD takes no name with a blank: what it gets lies where there is none.
pages=$work/pages.so
cp "$4" "$pages"
shift 5
for size in 4096 16384 65536; do
	export HEAPSTORM_PAGE_SIZE=$size
	expect 0 env LD_PRELOAD="$pages" "$heapstorm" replay --expect --allocator mem_alloc,mem_alloc_2.0 --variant plain "$source_folder"/corpus/sequence/*.heap \
		"$source_folder"/corpus/regress/*.heap
	last_line 'verdict: clean'
	[ $size = 4096 ] || expect 0 env LD_PRELOAD="$pages" "$unit_test"
	for library; do
		cp "$library" "$work/library.so"
		expect 0 env LD_PRELOAD="$pages:$work/library.so" python3 "$source_folder/tests/preload/work.py"
	done
done

# What takes pages to be of 4 KiB is seen there.
for name in os.c mem_alloc.c preload.c; do
	sed 's/getauxval(AT_PAGESZ)/4096/' "$source_folder/alloc/$name" >$name
done
expect 0 "$compiler" -std=gnu17 -O2 -shared -fPIC -w -I"$source_folder/alloc" -o "$work/wrong.so" os.c mem_alloc.c preload.c -pthread \
	-Wl,--defsym=malloc=my_malloc,--defsym=free=my_free,--defsym=calloc=my_calloc,--defsym=realloc=my_realloc
expect 134 env HEAPSTORM_PAGE_SIZE=65536 LD_PRELOAD="$pages:$work/wrong.so" python3 -c 'x = bytearray(100000)
while len(x) < 10000000: x.extend(bytes(5000))'
says err 'not of whole pages'
finish
