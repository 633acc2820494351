#!/bin/sh
# Compiles the C and C++ sources of one allocator to one relocatable object, a bundle (harness/bundle/bundle.h):
#
#   bundle_allocator.sh --name NAME --variant plain|asan|fuzz|tsan|sched|schedfuzz|given|schedgiven --cc COMPILER --out FILE.o
#                       [--keep 'my_*']... [--include DIRECTORY]... [--cflags '-DX=1'] [--depfile FILE.d] SOURCE...
#
# The variants given and schedgiven have no options of their own: those of --cflags say what is instrumented.
#
#   --name     a C identifier; the bundle's descriptor is heapstorm_bundle_NAME
#   --keep     a pattern of names (with * ? and [ ]) that stay visible; may be given often, everything else becomes local
#   --include  a directory of headers; may be given often
#   --cflags   more options for the compiler, words separated by blanks
#   --depfile  writes the headers that were read, as a rule of make
#
# A SOURCE may be an object or a static library for the variant plain: its calls are redirected too, but it is compiled as it is.
#
# The calls of the allocator to the OS (mmap, munmap, ...) and those that would outlive a run (pthread_key_create, ...) go to functions of
# the same name with the prefix heapstorm_, which the engine defines. In the variants `sched` and `schedfuzz` these and all that synchronizes threads go to
# functions with the prefix heapstorm_sched_ (stress/schedule/), and what the scheduler would not see is refused by name. Exit status: 0, 1 what the compiler found, 2 wrong usage.
set -eu

# What is redirected; only where the allocator does not define it itself.
prefix=heapstorm_
redirected='mmap mmap64 munmap mremap madvise mprotect sbrk brk pthread_key_create pthread_key_delete pthread_atfork'

scheduled='mmap mmap64 munmap mremap madvise mprotect sbrk syscall sched_yield sched_getcpu
	pthread_atfork pthread_key_create pthread_key_delete pthread_setspecific pthread_getspecific
	pthread_create pthread_join pthread_tryjoin_np pthread_detach pthread_exit
	pthread_mutex_init pthread_mutex_destroy pthread_mutex_lock pthread_mutex_trylock pthread_mutex_timedlock
	pthread_mutex_clocklock pthread_mutex_unlock
	pthread_cond_init pthread_cond_destroy pthread_cond_wait pthread_cond_timedwait pthread_cond_clockwait
	pthread_cond_signal pthread_cond_broadcast
	pthread_rwlock_init pthread_rwlock_destroy pthread_rwlock_rdlock pthread_rwlock_wrlock pthread_rwlock_tryrdlock
	pthread_rwlock_trywrlock pthread_rwlock_timedrdlock pthread_rwlock_timedwrlock pthread_rwlock_unlock
	pthread_spin_init pthread_spin_destroy pthread_spin_lock pthread_spin_trylock pthread_spin_unlock
	pthread_once pthread_barrier_init pthread_barrier_destroy pthread_barrier_wait
	sem_init sem_destroy sem_wait sem_trywait sem_timedwait sem_post
	clock_gettime gettimeofday time clock nanosleep clock_nanosleep usleep sleep
	thrd_create thrd_join thrd_detach thrd_exit thrd_yield thrd_sleep
	mtx_init mtx_destroy mtx_lock mtx_trylock mtx_timedlock mtx_unlock
	cnd_init cnd_destroy cnd_wait cnd_timedwait cnd_signal cnd_broadcast
	call_once tss_create tss_delete tss_set tss_get'
# Of the names below these are harmless: they wait for nobody and change nothing that threads share.
harmless='pthread_self pthread_equal pthread_mutexattr_* pthread_condattr_* pthread_rwlockattr_* pthread_barrierattr_* pthread_attr_*
	pthread_getattr_np pthread_setname_np thrd_current thrd_equal'

usage() {
	echo "bundle_allocator.sh: $1" >&2
	exit 2
}

here=$(cd "$(dirname "$0")" && pwd)
support=$here/../harness/bundle
[ -d "$support" ] || support=$here/bundle # as installed
name= variant= cc= out= cflags= depfile= keep= includes=
newline='
'
while [ $# -gt 0 ]; do
	case $1 in
	--name | --variant | --cc | --out | --cflags | --depfile | --keep | --include)
		[ $# -ge 2 ] || usage "$1 needs a value"
		case $1 in
		--name) name=$2 ;;
		--variant) variant=$2 ;;
		--cc) cc=$2 ;;
		--out) out=$2 ;;
		--cflags) cflags=$2 ;;
		--depfile) depfile=$2 ;;
		--keep) keep="$keep $2" ;;
		--include) includes="$includes-I$2$newline" ;;
		esac
		shift 2
		;;
	--)
		shift
		break
		;;
	-*) usage "unknown option $1" ;;
	*) break ;;
	esac
done
[ -n "$cc" ] || usage "--cc is missing"
[ -n "$out" ] || usage "--out is missing"
[ $# -gt 0 ] || usage "no sources"
case $name in
'' | [0-9]* | *[!A-Za-z0-9_]*) usage "--name '$name' is no C identifier" ;;
esac
case $variant in
plain) flags='-O2 -g' ;;
asan) flags='-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all' ;;
# Counters without traced comparisons: the mutator knows the sizes that matter, and the tracing costs more than the allocator.
fuzz) flags='-O2 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all -fsanitize-coverage=inline-8bit-counters,pc-table' ;;
tsan) flags='-O1 -g -fsanitize=thread' ;;
given) flags= ;;
sched | schedfuzz | schedgiven)
	# The driver takes no two sanitizers at once; the compiler proper does, and each access is checked and passed on.
	case $variant in
	sched) flags='-O1 -g -fno-omit-frame-pointer -fsanitize=thread' ;;
	schedfuzz) flags='-O1 -g -fno-omit-frame-pointer -fsanitize=address -Xclang -fsanitize=thread
		-fsanitize-coverage=inline-8bit-counters,pc-table' ;;
	schedgiven) flags='-Xclang -fsanitize=thread' ;;
	esac
	prefix=heapstorm_sched_
	redirected=$scheduled
	;;
*) usage "--variant '$variant' is none of plain, asan, fuzz, tsan, sched, schedfuzz, given, schedgiven" ;;
esac

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# Those of the compiler, which may be one for another machine.
tool() { # name
	found=$("$cc" -print-prog-name="$1" 2>/dev/null) && command -v "$found" >/dev/null || found=$1
	echo "$found"
}
ld=$(tool ld) nm=$(tool nm) objcopy=$(tool objcopy) objdump=$(tool objdump) readelf=$(tool readelf)
case $("$cc" -dumpmachine 2>/dev/null || uname -m) in x86_64*) machine=x86_64 ;; *) machine= ;; esac

case $variant/$machine in
# 16-byte atomics are calls of the runtime like the others, not of libatomic.
sched/x86_64 | schedfuzz/x86_64 | schedgiven/x86_64) flags="$flags -mcx16" ;;
esac

set -f # the words of $cflags and the patterns of $keep are no file names
support_flags='-std=gnu17 -O2 -g -fPIE -fno-data-sections -fno-common'
"$cc" $support_flags -DBUNDLE_NAME="$name" -c "$support/begin.c" -o "$work/begin.o"
"$cc" $support_flags -c "$support/end.c" -o "$work/end.o"

# -fno-common: a tentative definition left to the linker would end up outside of the brackets.
count=0
compile() { # source include-option...
	source=$1
	shift
	count=$((count + 1))
	case $source in
	*.o | *.a)
		[ "$variant" = plain ] || {
			echo "heapstorm: $source: is compiled, and not for $variant" >&2
			exit 1
		}
		"$ld" -r --whole-archive "$source" -o "$work/$count.o" || exit 1
		echo "OUT: $source" >"$work/$count.d"
		return
		;;
	*.c | *.i) standard=-std=gnu17 ;;
	*) standard= ;;
	esac
	"$cc" $standard -fPIE -pthread $flags "$@" $cflags -fno-common -fno-lto \
		-MMD -MF "$work/$count.d" -MT OUT -c "$source" -o "$work/$count.o" || exit 1
}
for source in "$@"; do
	blanks=$IFS
	IFS=$newline # directories may have blanks in their names
	set -- $includes
	IFS=$blanks
	compile "$source" "$@"
done

set -- "$work/begin.o"
i=0
while [ $i -lt $count ]; do
	i=$((i + 1))
	set -- "$@" "$work/$i.o"
done
# Section groups are dissolved: what AddressSanitizer puts into a group of its own, a variable for each, moves between the brackets.
"$ld" -r --force-group-allocation -T "$support/bundle.ld" -o "$work/all.o" "$@" "$work/end.o"

"$nm" -P "$work/all.o" >"$work/symbols"
set -- -w "--keep-global-symbol=heapstorm_bundle_$name"
for pattern in $keep; do
	set -- "$@" "--keep-global-symbol=$pattern"
done
# AddressSanitizer registers the globals of the whole program at once: this flag, one of all objects, says that it was done.
set -- "$@" --keep-global-symbol=___asan_globals_registered
for symbol in $redirected; do
	if grep -q "^$symbol U" "$work/symbols"; then
		set -- "$@" --redefine-sym "$symbol=$prefix$symbol"
	fi
done
# One that gets its memory from libc's malloc: harness/os_malloc.c.
for symbol in malloc free calloc realloc memalign aligned_alloc posix_memalign; do
	if grep -q "^$symbol U" "$work/symbols"; then
		set -- "$@" --redefine-sym "$symbol=heapstorm_$symbol"
	fi
done
"$objcopy" "$@" "$work/all.o" "$work/bundle.o"

# A call that waits or wakes behind the scheduler's back would make it hang or lie.
if [ $prefix = heapstorm_sched_ ]; then
	refused=
	for symbol in $(sed -n 's/^\([^ ]*\) U.*/\1/p' "$work/symbols"); do
		case $symbol in
		pthread_* | __pthread_* | sem_* | mtx_* | cnd_* | thrd_* | tss_* | call_once | __atomic_* | __sync_* | fork | vfork | clone | \
			poll | select | epoll_* | eventfd | sigwait* | pause | signal | sigaction) ;;
		*) continue ;;
		esac
		for known in $scheduled $harmless; do
			case $symbol in $known) continue 2 ;; esac
		done
		refused="$refused $symbol"
	done
	[ -z "$refused" ] || {
		echo "heapstorm: $name: a scheduled run does not know the functions$refused" >&2
		exit 1
	}
	# Atomic instructions that are no calls: from assembly, or from code that is compiled without -fsanitize=thread.
	if "$objdump" -d --no-show-raw-insn "$work/all.o" |
		awk '/^[0-9a-f]+ <.*>:$/ { function_name = $2 } /\tlock |\txchg .*\(/ { print function_name; found = 1 } END { exit !found }' \
			>"$work/locked"; then
		echo "heapstorm: $name: atomic instructions that a scheduled run does not see, in $(sort -u "$work/locked" | tr -d '<>:' | tr '\n' ' ')" >&2
		exit 1
	fi
fi

# Writable data that the script did not gather is not put back by a snapshot.
"$readelf" -SW "$work/bundle.o" | sed 's/^ *\[ *[0-9]*\] *//' | while read -r section type address offset size entry attributes rest; do
	case $attributes in
	*WA*)
		case $section in
		.data | .bss | .tdata | .tbss | .data.rel.ro | .init_array* | .fini_array* | .preinit_array* | .ctors* | .dtors* | \
			asan_globals | __sancov_* | __llvm_prf_*) ;; # counters that are to go on
		*)
			[ "$size" = 000000 ] ||
				echo "heapstorm: $name: what section $section holds is not reset between inputs" >&2
			;;
		esac
		;;
	esac
done

if [ -n "$depfile" ]; then
	set +f
	rule=$(cat "$work"/*.d | sed 's/^OUT://; s/\\$//' | tr '\n' ' ')
	echo "$out:$rule" >"$depfile"
fi
mv "$work/bundle.o" "$out"
