/*
 * glibc_tunables: with GLIBC_TUNABLES set, the dynamic linker copies it by its own early malloc and frees what it
 * copied by ours (RELIABILITY.md row 10). The program sets it and starts itself again; so also MALLOC_ variables.
 */
#include "interpose/check.h"

#include <sys/wait.h>

int main(int argc, char **argv) {
	(void)argv;
	if (argc > 1) {
		void *p = malloc(100);
		p = opaque(realloc(p, 100000));
		free(p);
		return p == NULL;
	}
	static const char *const tunables[] = {"glibc.malloc.tcache_count=0",
	                                       "glibc.malloc.check=3:glibc.malloc.arena_max=1",
	                                       "glibc.malloc.perturb=17",
	                                       "glibc.malloc.hugetlb=1",
	                                       "glibc.rtld.optional_static_tls=4096",
	                                       "glibc.malloc.mmap_max=0",
	                                       "nonsense=1:glibc.malloc.nonsense",
	                                       "glibc.pthread.rseq=0"};
	for (size_t i = 0; i < sizeof tunables / sizeof *tunables; i++) {
		pid_t child = fork();
		REQUIRE(child >= 0);
		if (child == 0) {
			setenv("GLIBC_TUNABLES", tunables[i], 1);
			setenv("MALLOC_ARENA_MAX", "1", 1);
			setenv("MALLOC_CHECK_", "3", 1);
			execl("/proc/self/exe", "tunables", "again", (char *)NULL);
			_exit(9);
		}
		int status = -1;
		waitpid(child, &status, 0);
		CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "GLIBC_TUNABLES=%s: status %#x", tunables[i],
		      (unsigned)status);
	}
	return check_end();
}
