/* tracking/box.c: see tracking/box.h. */
#include "tracking/box.h"

#include "base/bits.h"
#include "base/out.h"
#include "heap/stats.h"
#include "tracking/maps.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EVERY_MS = 10, MAPS_EVERY_MS = 20, RANGES = 512 };

hypi_box *hypi_box_now;

static struct {
	hypi_lock lock; /* only ever tried */
	_Atomic uint64_t next_ms, next_maps_ms;
	_Atomic bool unknown_code;
	_Atomic uint32_t range_count;
	struct {
		uintptr_t start, end;
	} ranges[RANGES]; /* of the code that `maps` has; appended to, never changed */
} state;

static const hypi_box *loaded;

static size_t table_bytes(void) {
	return HYPI_SITES * sizeof(hypi_site) + HYPI_ALL_FRAMES * sizeof(uintptr_t) + 2 * HYPI_SITES * sizeof(uint32_t);
}

size_t hypi_box_bytes(void) { return HYPI_BOX_TABLES + hypi_round_up(table_bytes(), 65536); }

/* ---- what is refreshed ---- */

static bool is_known(uintptr_t pc) {
	/* acquire: pairs with the release in add_code */
	uint32_t count = hypi_load_acquire(&state.range_count);
	for (uint32_t i = 0; i < count; i++)
		if (pc - state.ranges[i].start < state.ranges[i].end - state.ranges[i].start) return true;
	return false;
}

static bool add_code(void *context, const hypi_map *map) {
	hypi_box *box = context;
	if (!map->execute || is_known(map->start)) return true;
	uint32_t count = hypi_load_relaxed(&state.range_count);
	char *line = box->maps + box->maps_bytes;
	size_t room = HYPI_BOX_MAPS - box->maps_bytes, length = strlen(map->path) + 80;
	if (count == RANGES || room < length) return false;
	box->maps_bytes += (uint32_t)hypi_format(line, room, "%lx-%lx r-xp %lx 00:00 0 %s\n", map->start, map->end,
	                                         map->offset, map->path);
	state.ranges[count].start = map->start;
	state.ranges[count].end = map->end;
	hypi_store_release(&state.range_count, count + 1); /* pairs with the acquire in is_known */
	return true;
}

void hypi_box_note_frames(const uintptr_t *frames, unsigned depth) {
	if (HYP_LIKELY(hypi_box_now == NULL)) return;
	for (unsigned i = 0; i < depth; i++)
		if (!is_known(frames[i])) hypi_store_relaxed(&state.unknown_code, true);
}

static void refresh(hypi_box *box) {
	hypi_engine_stats(&hypi_default_engine, &box->stats);
	hypi_engine_classes(&hypi_default_engine, box->classes);
	box->tick_count = hypi_timeline_ticks(box->ticks, HYPI_TICKS);
	box->peak_bytes = hypi_timeline_peak_bytes();
	hypi_profile_lock();
	uint32_t pools = hypi_tracked_pool_count();
	for (uint32_t i = box->pool_count; i < pools; i++) box->pools[i] = *hypi_tracked_pool_at(i);
	box->pool_count = pools;
	hypi_profile_unlock();
}

HYPI_NEAR void hypi_box_look(uint64_t now_ms) {
	hypi_box *box = hypi_box_now;
	if (HYP_LIKELY(box == NULL)) return;
	bool code = hypi_load_relaxed(&state.unknown_code) && now_ms >= hypi_load_relaxed(&state.next_maps_ms);
	if ((!code && now_ms < hypi_load_relaxed(&state.next_ms)) || !hypi_lock_try(&state.lock)) return;
	if (hypi_load_relaxed(&box->pid) == (uint64_t)getpid()) {
		if (code) {
			hypi_store_relaxed(&state.unknown_code, false);
			hypi_maps_each(add_code, box);
			hypi_store_relaxed(&state.next_maps_ms, now_ms + MAPS_EVERY_MS);
		}
		refresh(box);
		hypi_store_relaxed(&state.next_ms, now_ms + EVERY_MS);
	}
	hypi_unlock(&state.lock);
}

/* ---- the process's side ---- */

bool hypi_box_open(const char *path) {
	int fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0) return false;
	uint64_t pid = (uint64_t)getpid(), owner = 0;
	hypi_box *box = MAP_FAILED;
	struct stat about;
	if (fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && (size_t)about.st_size == hypi_box_bytes())
		box = mmap(NULL, hypi_box_bytes(), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	bool mine =
		box != MAP_FAILED &&
		(atomic_compare_exchange_strong_explicit(&box->pid, &owner, pid, memory_order_relaxed, memory_order_relaxed) ||
	     owner == pid);
	/* What the program before an exec left behind is dropped: the pages read as zero again. */
	if (mine && owner == pid) mine = ftruncate(fd, 0) == 0 && ftruncate(fd, (off_t)hypi_box_bytes()) == 0;
	close(fd);
	if (!mine) {
		if (box != MAP_FAILED) munmap(box, hypi_box_bytes());
		return false;
	}
	hypi_store_relaxed(&box->pid, pid);
	box->struct_bytes = sizeof *box;
	int command = open("/proc/self/cmdline", O_RDONLY | O_CLOEXEC);
	ssize_t n = command >= 0 ? read(command, box->command, sizeof box->command - 1) : 0;
	if (command >= 0) close(command);
	for (ssize_t i = 0; i + 1 < n; i++)
		if (box->command[i] == '\0' || box->command[i] == '\n') box->command[i] = ' ';
	hypi_maps_each(add_code, box);
	box->magic = HYPI_BOX_MAGIC;
	hypi_box_now = box;
	return true;
}

char *hypi_box_tables(void) { return hypi_box_now != NULL ? (char *)hypi_box_now + HYPI_BOX_TABLES : NULL; }

void hypi_box_finish(void) {
	if (hypi_box_now != NULL) hypi_store_relaxed(&hypi_box_now->finished, 1);
}

/* The parent goes on writing to the tables while they are copied: what they say of live blocks is made anew from the
 * picks, which are this process's own. */
static void recount(hypi_profile *p) {
	for (uint32_t i = 0; i < p->site_count; i++) {
		hypi_site *site = &p->sites[i];
		site->live_picks = site->live_pick_bytes = 0;
		site->live_count = site->live_bytes = 0;
	}
	for (size_t i = 0; i < p->pick_capacity; i++) {
		const hypi_pick *pick = &p->picks[i];
		if (pick->address == 0) continue;
		hypi_site *site = &p->sites[pick->site];
		site->live_picks++;
		site->live_pick_bytes += pick->asked + pick->slack;
		site->live_count += (double)pick->scale;
		site->live_bytes += (double)pick->asked * (double)pick->scale;
	}
}

void hypi_box_leave(void) {
	hypi_box *box = hypi_box_now;
	hypi_profile *p = &hypi_profile_data;
	if (HYP_LIKELY(box == NULL) || hypi_load_relaxed(&box->pid) == (uint64_t)getpid()) return;
	hypi_box_now = NULL;
	hypi_lock_reset(&state.lock);
	if (p->sites == NULL) return;
	char *own = hypi_os_map(hypi_round_up(table_bytes(), hypi_os.page_bytes), hypi_os.page_bytes);
	if (own == NULL) return; /* it goes on in its parent's: what the report says is then of both */
	size_t sites = HYPI_SITES * sizeof(hypi_site), frames = HYPI_ALL_FRAMES * sizeof(uintptr_t);
	memcpy(own, p->sites, p->site_count * sizeof(hypi_site));
	memcpy(own + sites, p->frames, p->frame_count * sizeof(uintptr_t));
	p->sites = (hypi_site *)(void *)own;
	p->frames = (uintptr_t *)(void *)(own + sites);
	p->site_index = (uint32_t *)(void *)(own + sites + frames);
	hypi_profile_reindex();
	recount(p);
	munmap(box, hypi_box_bytes());
}

/* ---- the command's side ---- */

/* Sites that the end left half written are dropped. */
static bool is_whole(const hypi_profile *p, const hypi_site *site) {
	return site->depth <= HYPI_FRAMES && site->first <= p->frame_count && site->depth <= p->frame_count - site->first &&
	       site->live_picks <= site->picks && site->freed_picks <= site->picks && site->pool < HYPI_TRACKED_POOLS;
}

/* Whatever byte is there, it is true or false. */
static bool read_bool(const bool *from) {
	unsigned char byte;
	memcpy(&byte, from, 1);
	return byte != 0;
}

/* Ticks before the first that no address space can hold. */
static uint32_t sound_ticks(const hypi_box *box) {
	uint32_t i = 0;
	while (i < box->tick_count && (box->ticks[i].committed_bytes | box->ticks[i].resident_bytes) >> 57 == 0) i++;
	return i;
}

bool hypi_box_load(const void *file, size_t bytes) {
	hypi_box *box = (hypi_box *)(uintptr_t)file;
	if (bytes != hypi_box_bytes() || box->magic != HYPI_BOX_MAGIC || box->struct_bytes != sizeof *box) return false;
	if (hypi_load_relaxed(&box->finished) != 0 || box->profile.site_count == 0 ||
	    box->profile.site_count > HYPI_SITES || box->profile.frame_count > HYPI_ALL_FRAMES ||
	    box->tick_count > HYPI_TICKS || box->pool_count > HYPI_TRACKED_POOLS || box->maps_bytes >= HYPI_BOX_MAPS ||
	    box->maps[box->maps_bytes] != '\0')
		return false;
	hypi_profile *p = &hypi_profile_data;
	char *tables = (char *)box + HYPI_BOX_TABLES;
	*p = box->profile;
	hypi_lock_reset(&p->lock);
	p->sites = (hypi_site *)(void *)tables;
	p->frames = (uintptr_t *)(void *)(tables + HYPI_SITES * sizeof(hypi_site));
	p->site_index = NULL;
	p->picks = NULL;
	p->pick_count = p->pick_capacity = 0;
	p->running = false;
	p->mixed = read_bool(&box->profile.mixed);
	p->leaks_searched = read_bool(&box->profile.leaks_searched);
	p->partial = read_bool(&box->profile.partial);
	for (uint32_t i = 0; i < p->site_count; i++)
		if (!is_whole(p, &p->sites[i])) p->sites[i] = (hypi_site){0};
	box->command[HYPI_BOX_COMMAND - 1] = '\0';
	for (char *at = box->command; *at != '\0'; at++)
		if (*at == '\n') *at = ' ';
	hypi_timeline_load(box->ticks, sound_ticks(box), box->peak_bytes);
	hypi_tracked_pools_load(box->pools, box->pool_count);
	hypi_maps_load(box->maps);
	loaded = box;
	return true;
}

int hypi_subject_pid(void) { return loaded != NULL ? (int)hypi_load_relaxed(&loaded->pid) : (int)getpid(); }
const char *hypi_subject_command(void) { return loaded != NULL ? loaded->command : NULL; }
bool hypi_subject_ended(void) { return loaded != NULL; }

void hypi_subject_stats(hyp_stats *ret_stats) {
	if (loaded != NULL) *ret_stats = loaded->stats;
	else hypi_engine_stats(&hypi_default_engine, ret_stats);
}

void hypi_subject_classes(hyp_class_stats *ret_classes) {
	if (loaded != NULL) memcpy(ret_classes, loaded->classes, sizeof loaded->classes);
	else hypi_engine_classes(&hypi_default_engine, ret_classes);
}
