/* tracking/reach.c: see tracking/reach.h. */
#include "tracking/reach.h"

#include "base/out.h"
#include "heap/fast.h"
#include "tracking/bytes.h"
#include "tracking/maps.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { WINDOWS = 64, THREADS = 512, ROOTS = 4096, DESCRIPTOR_BYTES = 2560, SPARSE_BYTES = 16 << 20 };
#define MOST_ROOT_BYTES ((uintptr_t)1 << 36) /* larger ones are some runtime's shadow of the address space */

/* Reads whatever there is, also what a sanitizer holds for freed. For everything that runs in the copy and reads records:
 * the copy stands still, but the thread sanitizer there still knows of the threads that wrote before, and takes reading
 * what they wrote for a race. */
#define READS_ANYTHING __attribute__((no_sanitize("address"), no_sanitize("thread")))

typedef struct mark_window {
	uintptr_t window;
	uint64_t *bits; /* one for each 16 bytes */
} mark_window;

typedef struct large_block {
	uintptr_t base, bytes;
	const hypi_span *span; /* its record */
} large_block;

typedef struct search {
	hypi_reach_range roots[ROOTS];
	unsigned root_count;
	bool overflow;
	uintptr_t stack_pointers[THREADS]; /* of the other threads that wait in the kernel */
	unsigned thread_count;
	bool all_threads_known;
	uintptr_t here;      /* the caller's stack pointer */
	uintptr_t guard_end; /* where the last mapping without access ended */
	size_t stack_bytes;
	mark_window windows[WINDOWS];
	unsigned window_count;
	hypi_bytes larges, work;
	size_t large_count;
} search;

/* ---- in the caller: roots ---- */

static size_t read_file(const char *path, char *ret_text, size_t bytes) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) return 0;
	ssize_t n = read(fd, ret_text, bytes - 1);
	close(fd);
	if (n < 0) n = 0;
	ret_text[n] = '\0';
	return (size_t)n;
}

struct directory_entry { /* what getdents64 fills */
	uint64_t inode;
	int64_t offset;
	unsigned short bytes;
	unsigned char type;
	char name[];
};

bool hypi_reach_stack_pointer(const char *text, uintptr_t *ret_stack_pointer) {
	size_t end = strlen(text);
	while (end > 0 && text[end - 1] != ' ') end--; /* behind it is the program counter */
	size_t start = end > 0 ? --end : 0;
	while (start > 0 && text[start - 1] != ' ') start--;
	if (start == 0 || end - start < 3 || end - start > 18 || text[start] != '0' || text[start + 1] != 'x') return false;
	uintptr_t sp = 0;
	for (size_t at = start + 2; at < end; at++) {
		char c = text[at];
		if ((c < '0' || c > '9') && (c < 'a' || c > 'f')) return false;
		sp = sp * 16 + (uintptr_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	*ret_stack_pointer = sp;
	return true;
}

static void learn_thread(search *s, const char *name) {
	char path[64], text[256];
	uintptr_t sp;
	hypi_format(path, sizeof path, "/proc/self/task/%s/syscall", name);
	if (read_file(path, text, sizeof text) != 0 && hypi_reach_stack_pointer(text, &sp) && s->thread_count < THREADS)
		s->stack_pointers[s->thread_count++] = sp;
	else s->all_threads_known = false;
}

static void learn_threads(search *s) {
	char own[16], buffer[2048];
	hypi_format(own, sizeof own, "%u", hypi_os_thread_id());
	s->all_threads_known = true;
	int fd = open("/proc/self/task", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0) {
		s->all_threads_known = false;
		return;
	}
	long n;
	while ((n = syscall(SYS_getdents64, fd, buffer, sizeof buffer)) > 0)
		for (long at = 0; at < n;) {
			const struct directory_entry *entry = (const void *)(buffer + at);
			if (entry->name[0] != '.' && strcmp(entry->name, own) != 0) learn_thread(s, entry->name);
			at += entry->bytes;
		}
	close(fd);
}

static void add_root(search *s, uintptr_t start, uintptr_t end) {
	if (start >= end) return;
	if (s->root_count == ROOTS) s->overflow = true;
	else s->roots[s->root_count++] = (hypi_reach_range){start, end};
}

/* A mapping of a thread's default size above a guard: glibc's stack. From the thread's stack pointer on it is a root; a
 * stack that no thread is on is none, if we know where all threads are. */
static uintptr_t stack_start(const search *s, const hypi_map *map) {
	if (s->here >= map->start && s->here < map->end) return s->here;
	for (unsigned i = 0; i < s->thread_count; i++)
		if (s->stack_pointers[i] >= map->start && s->stack_pointers[i] < map->end) return s->stack_pointers[i] - 128;
	size_t bytes = map->end - map->start;
	bool is_stack = s->guard_end == map->start && map->path[0] == '\0' && bytes <= s->stack_bytes &&
	                bytes + (256 << 10) >= s->stack_bytes;
	/* The thread's descriptor at the top still holds what glibc keeps for the next thread. */
	return is_stack && s->all_threads_known ? map->end - DESCRIPTOR_BYTES : map->start;
}

static bool look_at_map(void *context, const hypi_map *map) {
	search *s = context;
	if (!map->read) s->guard_end = map->end;
	if (map->end - map->start > MOST_ROOT_BYTES) return true;
	if (!map->write || map->shared || strncmp(map->path, "/dev/", 5) == 0) return true;
	add_root(s, stack_start(s, map), map->end);
	return true;
}

static void exclude(search *s, uintptr_t start, uintptr_t end) {
	unsigned count = s->root_count;
	for (unsigned i = 0; i < count; i++) {
		hypi_reach_range r = s->roots[i];
		if (r.end <= start || r.start >= end) continue;
		s->roots[i].end = r.start < start ? start : r.start;
		if (r.end > end) add_root(s, end, r.end);
	}
}

/* ---- in the copy ---- */

READS_ANYTHING static uint64_t *mark_word(search *s, uintptr_t address) {
	uintptr_t window = hypi_window_of(address);
	mark_window *w = NULL;
	for (unsigned i = 0; i < s->window_count && w == NULL; i++)
		if (s->windows[i].window == window) w = &s->windows[i];
	if (w == NULL) {
		if (s->window_count == WINDOWS) return NULL;
		w = &s->windows[s->window_count];
		w->window = window;
		w->bits = hypi_os_map((size_t)1 << (HYPI_WINDOW_LOG2 - 4 - 3), hypi_os.page_bytes);
		if (w->bits == NULL) return NULL;
		s->window_count++;
	}
	return &w->bits[(uint32_t)address >> 10];
}

static uint64_t mark_bit(uintptr_t address) { return UINT64_C(1) << (address >> 4 & 63); }

READS_ANYTHING static void list_larges(search *s) {
	for (size_t w = 0; w < HYPI_ROOT_ENTRIES; w++) {
		hypi_leaf *leaf = hypi_load_relaxed(&hypi_root[w]);
		if (leaf == NULL) continue;
		for (size_t i = 0; i < HYP_ARRAY_LEN(leaf->entry); i++) {
			const hypi_span *span = hypi_entry_span(hypi_load_relaxed(&leaf->entry[i]));
			if (span == NULL) continue;
			unsigned kind = hypi_load_relaxed(&span->kind);
			if (kind != HYPI_SPAN_LARGE && kind != HYPI_SPAN_HUGE) continue;
			large_block block = {.base = span->base, .bytes = span->block_bytes, .span = span};
			hypi_bytes_add(&s->larges, &block, sizeof block);
			s->large_count++;
		}
	}
}

/* The live block around an address: its start and size; false: none. */
READS_ANYTHING static bool block_around(const search *s, uintptr_t address, large_block *ret_block) {
	const hypi_span *span = hypi_span_at((void *)address);
	if (span != NULL && hypi_load_relaxed(&span->kind) == HYPI_SPAN_SMALL) {
		if (!hypi_span_holds(span, (void *)address)) return false;
		uintptr_t base = span->base + (address - span->base) / span->block_bytes * span->block_bytes;
		if (!hypi_block_unlinked((void *)base) && hypi_link_fits((const hypi_block *)base)) return false;
		*ret_block = (large_block){.base = base, .bytes = span->block_bytes, .span = span};
		return true;
	}
	const large_block *larges = (const large_block *)(const void *)s->larges.at;
	size_t low = 0, high = s->large_count;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (larges[middle].base <= address) low = middle + 1;
		else high = middle;
	}
	if (low == 0 || address - larges[low - 1].base >= larges[low - 1].bytes) return false;
	*ret_block = larges[low - 1];
	return true;
}

/* Whether a word is hypool's own: the records know where their blocks begin, and their address space. */
READS_ANYTHING static bool is_ours(uintptr_t at, const large_block *block) {
	const hypi_span *span = block->span;
	return at - (uintptr_t)span < sizeof *span ||
	       (span->arena != NULL && at - (uintptr_t)span->arena < sizeof *span->arena);
}

READS_ANYTHING static void scan(search *s, uintptr_t start, uintptr_t end) {
	for (uintptr_t at = (start + 7) & ~(uintptr_t)7; at + 8 <= end; at += 8) {
		large_block block;
		if (!block_around(s, *(const uintptr_t *)at, &block) || is_ours(at, &block)) continue;
		uint64_t *word = mark_word(s, block.base);
		if (word == NULL || (*word & mark_bit(block.base)) != 0) continue;
		*word |= mark_bit(block.base);
		hypi_bytes_add(&s->work, &block, sizeof block);
	}
}

/* Pages of a mapping can be missing behind the end of its file: they are asked for first. */
static bool can_read(uintptr_t page) {
	unsigned char byte;
	struct {
		void *base;
		size_t bytes;
	} local = {&byte, 1}, remote = {(void *)page, 1};
	if (syscall(SYS_process_vm_readv, syscall(SYS_getpid), &local, 1ul, &remote, 1ul, 0ul) == 1) return true;
	return errno != EFAULT; /* a sandbox may refuse the question */
}

/* Of a large mapping, only the pages that were ever touched: the kernel's page map knows (bits 62 and 63: swapped out,
 * present). */
READS_ANYTHING static void scan_touched(search *s, hypi_reach_range r) {
	uint64_t entries[512];
	size_t page = hypi_os.page_bytes;
	int fd = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	for (uintptr_t at = r.start; at < r.end;) {
		size_t pages = (r.end - at + page - 1) / page;
		if (pages > HYP_ARRAY_LEN(entries)) pages = HYP_ARRAY_LEN(entries);
		bool known = fd >= 0 && pread(fd, entries, pages * 8, (off_t)(at / page * 8)) == (ssize_t)(pages * 8);
		for (size_t i = 0; i < pages; i++) {
			uintptr_t start = i == 0 ? at : at / page * page + i * page, end = at / page * page + (i + 1) * page;
			if (!known || entries[i] >> 62 != 0) scan(s, start, end < r.end ? end : r.end);
		}
		at = at / page * page + pages * page;
	}
	if (fd >= 0) close(fd);
}

READS_ANYTHING static void scan_root(search *s, hypi_reach_range r) {
	bool asked = can_read(r.start) && can_read(r.end - 8);
	if (asked && r.end - r.start >= SPARSE_BYTES) scan_touched(s, r);
	else if (asked) scan(s, r.start, r.end);
}

READS_ANYTHING static bool follow(search *s, const uintptr_t *blocks, size_t stride_bytes, size_t count,
                                  unsigned char *ret_reached) {
	list_larges(s);
	const large_block *larges = (const large_block *)(const void *)s->larges.at;
	for (size_t i = 0; i < s->large_count; i++) exclude(s, larges[i].base, larges[i].base + larges[i].bytes);
	for (unsigned i = 0; i < s->root_count; i++) {
		scan_root(s, s->roots[i]);
		while (s->work.used > 0) {
			s->work.used -= sizeof(large_block);
			large_block block;
			memcpy(&block, s->work.at + s->work.used, sizeof block);
			scan(s, block.base, block.base + block.bytes);
		}
	}
	for (size_t i = 0; i < count; i++) {
		uintptr_t p = *(const uintptr_t *)(const void *)((const char *)blocks + i * stride_bytes);
		if (p == 0) continue;
		uint64_t *word = mark_word(s, p);
		ret_reached[i] = word == NULL || (*word & mark_bit(p)) != 0;
	}
	return !s->work.failed && !s->larges.failed;
}

static void exclude_arenas(search *s, const hypi_large_pool *pool) {
	for (const hypi_arena *a = pool->all; a != NULL; a = a->all_next)
		exclude(s, a->base, a->base + ((uintptr_t)a->slices << HYPI_SLICE_LOG2));
}

static void exclude_pools(search *s) {
	hypi_lock_take(&hypi_engines_lock);
	for (hypi_engine *e = hypi_engines; e != NULL; e = e->next) {
		if (e == &hypi_default_engine) continue;
		hypi_lock_take(&e->large.lock);
		exclude_arenas(s, &e->large);
		hypi_unlock(&e->large.lock);
	}
	hypi_unlock(&hypi_engines_lock);
}

bool hypi_reach(const uintptr_t *blocks, size_t stride_bytes, size_t count, const hypi_reach_range *skip,
                unsigned skip_count, uintptr_t here, const hypi_registers *registers, unsigned char *ret_reached) {
	search *s = hypi_os_map(hypi_round_up(sizeof *s, hypi_os.page_bytes), hypi_os.page_bytes);
	if (s == NULL) return false;
	struct rlimit limit;
	s->stack_bytes = syscall(SYS_prlimit64, 0, RLIMIT_STACK, NULL, &limit) == 0 && limit.rlim_cur < (rlim_t)1 << 40
	                     ? limit.rlim_cur
	                     : 8 << 20;
	s->here = here;
	learn_threads(s);
	hypi_large_pool *pool = &hypi_default_engine.large;
	bool done = hypi_maps_each(look_at_map, s);
	exclude(s, (uintptr_t)s, (uintptr_t)s + sizeof *s);
	for (unsigned i = 0; i < skip_count; i++) exclude(s, skip[i].start, skip[i].end);
	add_root(s, (uintptr_t)registers, (uintptr_t)(registers + 1));
	exclude_pools(s);
	hypi_lock_take(&pool->lock);
	exclude_arenas(s, pool);
	/* No exit signal: a program that waits for its children does not see this one. */
	long child = done && !s->overflow ? syscall(SYS_clone, 0ul, 0ul, 0ul, 0ul, 0ul) : -1;
	if (child == 0) {
		bool good = follow(s, blocks, stride_bytes, count, ret_reached);
		syscall(SYS_exit_group, good ? 0 : 1);
	}
	hypi_unlock(&pool->lock);
	int status = -1;
	if (child > 0)
		while (syscall(SYS_wait4, child, &status, __WALL, NULL) < 0 && errno == EINTR) continue;
	hyp_status gone = hypi_os_unmap(s, hypi_round_up(sizeof *s, hypi_os.page_bytes));
	return gone == HYP_OK && child > 0 && status == 0;
}

void hypi_leave(int code) {
	for (;;) syscall(SYS_exit_group, code);
}
