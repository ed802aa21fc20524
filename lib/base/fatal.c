/* base/fatal.c: see base/fatal.h. */
#include "base/fatal.h"

#include "base/out.h"

#include <stdlib.h>

void hypi_fatal(const char *what, const void *pointer, size_t block_bytes) {
	hypi_out out;
	hypi_out_init_fd(&out, 2);
	hypi_out_format(&out, "hypool: %s of %p", what, pointer);
	if (block_bytes != 0) hypi_out_format(&out, " (size class %zu)", block_bytes);
	hypi_out_text(&out, "\n", 1);
	hypi_out_flush(&out);
	abort();
}

#if HYP_DEBUG
void hypi_assert_failed(const char *what, const char *file, int line) {
	hypi_out out;
	hypi_out_init_fd(&out, 2);
	hypi_out_format(&out, "hypool: assertion %s failed at %s:%d\n", what, file, line);
	hypi_out_flush(&out);
	abort();
}
#endif
