#include <errno.h>
#include <glob.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench.h"

/* Where Debian and others have them; `%` stands for the folder of heapstorm's own libraries. The last match of a pattern is the newest. */
static const struct known {
	const char *name, *what, *package;
	bool by_default;
	const char *patterns[6];
} known[] = {
	{"libc", "the C library's, nothing preloaded", "", true, {NULL}},
	{"mem_alloc", "one mmap a block", "", false, {"%/libmem_alloc.so"}},
	{"mem_alloc_2.0", "thread caches, splitting and coalescing", "", true, {"%/libmem_alloc_2.0.so"}},
	{"jemalloc",
	 "",
	 "libjemalloc2",
	 true,
	 {"/usr/lib/*-linux-gnu/libjemalloc.so.2", "/usr/lib*/libjemalloc.so.2", "/usr/local/lib/libjemalloc.so.2"}},
	{"mimalloc",
	 "",
	 "libmimalloc2.0",
	 true,
	 {"/usr/lib/*-linux-gnu/libmimalloc.so.[23]", "/usr/lib*/libmimalloc.so.[23]",
	  "/usr/local/lib/libmimalloc.so.[23]"}},
	{"tcmalloc",
	 "of gperftools",
	 "libtcmalloc-minimal4",
	 true,
	 {"/usr/lib/*-linux-gnu/libtcmalloc_minimal.so.4", "/usr/lib*/libtcmalloc_minimal.so.4",
	  "/usr/local/lib/libtcmalloc_minimal.so.4"}},
	{"tbbmalloc",
	 "of oneTBB",
	 "libtbbmalloc2",
	 true,
	 {"/usr/lib/*-linux-gnu/libtbbmalloc_proxy.so.2", "/usr/lib*/libtbbmalloc_proxy.so.2",
	  "/usr/local/lib/libtbbmalloc_proxy.so.2"}},
	{"scudo",
	 "of LLVM",
	 "libclang-rt-19-dev",
	 true,
	 {"/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-x86_64.so",
	  "/usr/lib/llvm-*/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-aarch64.so",
	  "/usr/lib/clang/*/lib/linux/libclang_rt.scudo_standalone-x86_64.so"}},
};

#define KNOWN (sizeof known / sizeof known[0])

const char *bench_peer_name(size_t n, const char **what, bool *by_default)
{
	if (n >= KNOWN)
		return NULL;
	*what = known[n].what;
	*by_default = known[n].by_default;
	return known[n].name;
}

static bool find_library(const char *pattern, const char *lib, char library[PATH_MAX])
{
	char text[PATH_MAX];
	glob_t found;
	bool ok;

	if (pattern[0] == '%')
		snprintf(text, sizeof text, "%s%s", lib, pattern + 1);
	else
		snprintf(text, sizeof text, "%s", pattern);
	if (pattern[0] == '%') { /* a path, whatever characters it has */
		snprintf(library, PATH_MAX, "%s", text);
		return access(text, R_OK) == 0;
	}
	ok = glob(text, 0, NULL, &found) == 0;
	if (ok) {
		snprintf(library, PATH_MAX, "%s", found.gl_pathv[found.gl_pathc - 1]);
		globfree(&found);
	}
	return ok;
}

bool bench_peer_find(const char *name, const char *lib, struct bench_peer *peer, bool *is_known, char *why,
		     size_t why_size)
{
	memset(peer, 0, sizeof *peer);
	*is_known = true;
	for (size_t i = 0; i < KNOWN; i++) {
		if (strcmp(name, known[i].name) != 0)
			continue;
		snprintf(peer->name, sizeof peer->name, "%s", name);
		if (known[i].patterns[0] == NULL)
			return true;
		for (size_t p = 0; p < sizeof known[i].patterns / sizeof known[i].patterns[0]; p++)
			if (known[i].patterns[p] != NULL && find_library(known[i].patterns[p], lib, peer->library))
				return true;
		if (known[i].package[0] != '\0')
			snprintf(why, why_size, "not installed (package %s)", known[i].package);
		else
			snprintf(why, why_size, "%s/lib%s.so is not there", lib, name);
		return false;
	}
	*is_known = false;
	if (strchr(name, '/') == NULL && strstr(name, ".so") == NULL) {
		snprintf(why, why_size, "no such allocator, and no path of a shared object");
		return false;
	}
	if (realpath(name, peer->library) == NULL || access(peer->library, R_OK) != 0) {
		snprintf(why, why_size, "%s", strerror(errno));
		return false;
	}
	const char *base = strrchr(peer->library, '/') + 1;

	if (strncmp(base, "lib", 3) == 0)
		base += 3;
	snprintf(peer->name, sizeof peer->name, "%.*s", (int)strcspn(base, "."), base);
	return true;
}

/* LD_PRELOAD takes blanks and colons for the ends of names. */
static bool fit_for_preload(const char *path)
{
	return strpbrk(path, " \t\n:") == NULL;
}

bool bench_peer_link(struct bench_peer *peer, const char *folder)
{
	static unsigned number;

	snprintf(peer->preload, sizeof peer->preload, "%s", peer->library);
	if (fit_for_preload(peer->library))
		return true;
	if (snprintf(peer->preload, sizeof peer->preload, "%s/preload%u.so", folder, number++) >= PATH_MAX)
		return false;
	return fit_for_preload(peer->preload) && symlink(peer->library, peer->preload) == 0;
}
