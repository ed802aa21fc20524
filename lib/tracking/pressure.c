/*
 * tracking/pressure.c: how short of memory the process and the machine are: Linux's sources. What is made of their words
 * is in tracking/pressure_levels.c.
 *
 * Sources that speak up, in the order in which one is chosen: what $MEMORY_PRESSURE_WATCH names (systemd's protocol: a
 * regular file is waited for with POLLPRI, a FIFO or socket is drained), a pressure stall trigger of the process's
 * control group, one of the whole machine. An unprivileged trigger's window must be a multiple of two seconds, and a
 * trigger lives as long as its descriptor; of a group that was removed it says so (POLLERR), and the next source takes its
 * place. The kernel forgets that a trigger fired as soon as anybody's poll has seen it,
 * be it the caller's event loop: so there are two, one that wakes the caller and one that only we look at, made after
 * the other because the kernel marks the younger first. Besides, always: deltas of the group's memory.events and of its ancestors'
 * memory.events.local (version 1: memory.failcnt of all), so that a limit that was hit between two polls is heard of; the
 * memory in use against memory.max of the group and all its ancestors (version 1: memory.limit_in_bytes); and a pool's use
 * against a limit of the caller's or its own.
 *
 * Lock: none; one thread at a time polls.
 */
#include "base/out.h"
#include "core/meta.h"
#include "heap/heap.h"
#include "os/os.h"
#include "tracking/pressure_levels.h"

#include <hypool/tracking.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { PATH_BYTES = 512, WRITE_BYTES = 256, GROUPS = 16, EVENT_KINDS = 4 };

typedef struct group_file {
	char path[PATH_BYTES];
} group_file;

struct hyp_pressure {
	hypi_pressure_levels levels; /* first: what the systems share takes it for the whole */
	int epoll, stall, events;    /* descriptors; -1: none */
	int latch;                   /* a second trigger like `stall`, which nobody else waits for; -1: none */
	bool stall_drains;           /* FIFO or socket */
	hyp_pressure_source stall_source;
	uint64_t seen[EVENT_KINDS]; /* of memory.events */
	uint64_t hits[GROUPS];      /* how often each group ran into its own limit */
	unsigned groups;
	bool version1;
	group_file folders[GROUPS];    /* the process's group first */
	char machine[PATH_BYTES + 64]; /* the whole machine's stall information */
};

/* ---- small files ---- */

static size_t read_text(const char *path, char *ret_text, size_t bytes) {
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? read(fd, ret_text, bytes - 1) : 0;
	if (fd >= 0) close(fd);
	if (n < 0) n = 0;
	ret_text[n] = '\0';
	return (size_t)n;
}

/* UINT64_MAX: "max", or no number. */
static uint64_t read_number(const char *folder, const char *name) {
	char path[PATH_BYTES + 64], text[64];
	hypi_format(path, sizeof path, "%s/%s", folder, name);
	size_t n = read_text(path, text, sizeof text);
	uint64_t value = 0;
	if (n == 0 || text[0] < '0' || text[0] > '9') return UINT64_MAX;
	for (const char *at = text; *at >= '0' && *at <= '9'; at++) value = value * 10 + (uint64_t)(*at - '0');
	return value;
}

/* ---- control groups ---- */

/* The path behind "0::" or, of version 1, behind "N:...memory...:"; false: neither. */
static bool own_group(char *text, bool *ret_version1, char **ret_path) {
	char *found = NULL;
	*ret_version1 = false;
	for (char *line = text, *next; line != NULL && *line != '\0'; line = next) {
		next = strchr(line, '\n');
		if (next != NULL) *next++ = '\0';
		if (strncmp(line, "0::", 3) == 0 && found == NULL) found = line + 3;
		char *names = strchr(line, ':'), *path = names != NULL ? strchr(names + 1, ':') : NULL;
		if (path == NULL || path == names + 1) continue;
		*path = '\0';
		for (char *at = names + 1; at != NULL; at = strchr(at, ',') != NULL ? strchr(at, ',') + 1 : NULL)
			if (strncmp(at, "memory", 6) == 0 && (at[6] == '\0' || at[6] == ',')) {
				*ret_version1 = true;
				*ret_path = path + 1;
				return true;
			}
	}
	*ret_path = found;
	return found != NULL;
}

static void find_groups(hyp_pressure *p, const char *root) {
	char path[PATH_BYTES], text[4096], *group;
	hypi_format(path, sizeof path, "%s/proc/self/cgroup", root);
	if (read_text(path, text, sizeof text) == 0 || !own_group(text, &p->version1, &group)) return;
	if (strstr(group, "..") != NULL) return; /* of another namespace: nothing of it is to be seen here */
	for (size_t n = strlen(group); p->groups < GROUPS;) {
		while (n > 0 && group[n - 1] == '/') n--;
		group[n] = '\0';
		hypi_format(p->folders[p->groups++].path, PATH_BYTES, "%s/sys/fs/cgroup%s%s", root,
		            p->version1 ? "/memory" : "", group);
		if (n == 0) return;
		while (n > 0 && group[n - 1] != '/') n--;
	}
}

/* Thousandths of the tightest limit that are in use; 0: no limit. */
static uint64_t use_of_limits(const hyp_pressure *p) {
	uint64_t worst = 0;
	for (unsigned i = 0; i < p->groups; i++) {
		const char *folder = p->folders[i].path;
		uint64_t limit = read_number(folder, p->version1 ? "memory.limit_in_bytes" : "memory.max");
		if (limit == 0 || limit >= UINT64_C(1) << 60) continue; /* version 1 writes "no limit" as a huge number */
		uint64_t used = read_number(folder, p->version1 ? "memory.usage_in_bytes" : "memory.current");
		if (used == UINT64_MAX) continue;
		uint64_t part = hypi_pressure_part(used, limit);
		if (part > worst) worst = part;
	}
	return worst;
}

/* ---- sources that speak ---- */

static void tell(hyp_pressure *p, hyp_pressure_level level, hyp_pressure_source source) {
	hypi_pressure_tell(&p->levels, level, source);
}

static void stop_hearing(hyp_pressure *p, int *fd) {
	epoll_ctl(p->epoll, EPOLL_CTL_DEL, *fd, NULL);
	close(*fd);
	*fd = -1;
}

/* "low", "high", "max", "oom": how often; what rose since the last time. */
static void hear_events(hyp_pressure *p, bool first) {
	static const struct {
		const char *name;
		hyp_pressure_level level;
	} kinds[EVENT_KINDS] = {{"low ", HYP_PRESSURE_MEDIUM},
	                        {"high ", HYP_PRESSURE_HIGH},
	                        {"max ", HYP_PRESSURE_CRITICAL},
	                        {"oom ", HYP_PRESSURE_CRITICAL}};
	char text[1024];
	if (p->events < 0) return;
	ssize_t n = pread(p->events, text, sizeof text - 1, 0);
	/* The group is gone: from now on the descriptor would always be ready. */
	if (n < 0 && errno == ENODEV) stop_hearing(p, &p->events);
	if (n <= 0) return;
	text[n] = '\0';
	for (const char *line = text; line != NULL && *line != '\0';) {
		for (unsigned k = 0; k < EVENT_KINDS; k++) {
			size_t bytes = strlen(kinds[k].name);
			if (strncmp(line, kinds[k].name, bytes) != 0) continue;
			uint64_t count = 0;
			for (const char *at = line + bytes; *at >= '0' && *at <= '9'; at++)
				count = count * 10 + (uint64_t)(*at - '0');
			if (!first && count > p->seen[k]) tell(p, kinds[k].level, HYP_PRESSURE_FROM_EVENTS);
			p->seen[k] = count;
		}
		line = strchr(line, '\n');
		if (line != NULL) line++;
	}
}

/* How often a group ran into its own limit. Counts of memory.events would include those of its other children. */
static uint64_t limit_hits(const hyp_pressure *p, unsigned group) {
	static const char *const names[] = {"max ", "oom "};
	char path[PATH_BYTES + 64], text[1024];
	if (p->version1) {
		uint64_t count = read_number(p->folders[group].path, "memory.failcnt");
		return count == UINT64_MAX ? 0 : count;
	}
	hypi_format(path, sizeof path, "%s/memory.events.local", p->folders[group].path);
	if (read_text(path, text, sizeof text) == 0) return 0;
	uint64_t sum = 0;
	for (const char *line = text; line != NULL && *line != '\0';) {
		for (size_t k = 0; k < HYP_ARRAY_LEN(names); k++) {
			if (strncmp(line, names[k], 4) != 0) continue;
			uint64_t count = 0;
			for (const char *at = line + 4; *at >= '0' && *at <= '9'; at++) count = count * 10 + (uint64_t)(*at - '0');
			sum += count;
		}
		line = strchr(line, '\n');
		if (line != NULL) line++;
	}
	return sum;
}

static void hear_limits(hyp_pressure *p, bool first) {
	/* Of version 2, the first group's own events are heard already. */
	for (unsigned i = p->version1 ? 0 : 1; i < p->groups; i++) {
		uint64_t hits = limit_hits(p, i);
		if (!first && hits > p->hits[i]) tell(p, HYP_PRESSURE_CRITICAL, HYP_PRESSURE_FROM_EVENTS);
		p->hits[i] = hits;
	}
}

static void open_stall(hyp_pressure *p);

static void hear_stall(hyp_pressure *p, uint32_t what) {
	char drained[512];
	bool spoke = false, gone = (what & EPOLLERR) != 0 && !p->stall_drains;
	if (p->stall_drains) {
		ssize_t n;
		while ((n = read(p->stall, drained, sizeof drained)) > 0) spoke = true;
		gone = n == 0 && (what & EPOLLIN) == 0 && (what & EPOLLHUP) != 0 && p->stall_source != HYP_PRESSURE_FROM_WATCH;
	} else {
		spoke = (what & EPOLLPRI) != 0 && !gone; /* the kernel sets both when the group is removed */
	}
	if (spoke) tell(p, HYP_PRESSURE_HIGH, p->stall_source);
	if (!gone) return;
	stop_hearing(p, &p->stall);
	if (p->latch >= 0) close(p->latch);
	p->latch = -1;
	open_stall(p); /* what is next */
}

/* The trigger that fired since the last look, whoever else saw the other. */
static void look_at_latch(hyp_pressure *p) {
	struct pollfd look = {.fd = p->latch, .events = POLLPRI};
	if (p->latch < 0 || poll(&look, 1, 0) <= 0) return;
	if (look.revents & POLLERR) { /* the group is gone */
		close(p->latch);
		p->latch = -1;
	} else if (look.revents & POLLPRI) {
		tell(p, HYP_PRESSURE_HIGH, p->stall_source);
	}
}

static bool hear(hyp_pressure *p, int fd, uint32_t what) {
	struct epoll_event event = {.events = what, .data.fd = fd};
	return epoll_ctl(p->epoll, EPOLL_CTL_ADD, fd, &event) == 0;
}

static size_t from_base64(const char *text, unsigned char *ret_data, size_t bytes) {
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;
	uint32_t word = 0;
	for (unsigned bits = 0; *text != '\0' && *text != '='; text++) {
		const char *at = strchr(digits, *text);
		if (at == NULL) return 0;
		word = word << 6 | (uint32_t)(at - digits);
		bits += 6;
		if (bits < 8) continue;
		bits -= 8;
		if (n == bytes) return 0;
		ret_data[n++] = (unsigned char)(word >> bits);
	}
	return n;
}

static int connect_to(const char *path) {
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	if (strlen(path) >= sizeof address.sun_path) return -1;
	memcpy(address.sun_path, path, strlen(path));
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd >= 0 && connect(fd, (const struct sockaddr *)&address, sizeof address) == 0) return fd;
	if (fd >= 0) close(fd);
	return -1;
}

/* A descriptor of a regular file with a trigger written to it; -1. */
static int open_latch(const char *path, const void *trigger, size_t bytes) {
	int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) return -1;
	if (write(fd, trigger, bytes) == (ssize_t)bytes) return fd;
	close(fd);
	return -1;
}

/* What the service manager names. */
static bool open_watch(hyp_pressure *p, const char *path, const char *write_text) {
	struct stat about;
	if (path == NULL || path[0] != '/' || strcmp(path, "/dev/null") == 0 || stat(path, &about) != 0) return false;
	bool regular = S_ISREG(about.st_mode);
	unsigned char data[WRITE_BYTES];
	size_t bytes = write_text != NULL ? from_base64(write_text, data, sizeof data) : 0;
	/* A FIFO is opened for both, so that it has no end. */
	int fd = S_ISSOCK(about.st_mode) ? connect_to(path)
	                                 : open(path, (regular && bytes == 0 ? O_RDONLY : O_RDWR) | O_NONBLOCK | O_CLOEXEC);
	if (fd < 0) return false;
	if ((bytes != 0 && write(fd, data, bytes) != (ssize_t)bytes) || !hear(p, fd, regular ? EPOLLPRI : EPOLLIN)) {
		close(fd);
		return false;
	}
	p->stall = fd;
	p->stall_drains = !regular;
	p->stall_source = HYP_PRESSURE_FROM_WATCH;
	if (regular && bytes != 0) p->latch = open_latch(path, data, bytes);
	return true;
}

/* 200 ms of waiting in 2 s, by any task. */
static bool open_trigger(hyp_pressure *p, const char *path) {
	static const char trigger[] = "some 200000 2000000";
	int fd = open_latch(path, trigger, sizeof trigger);
	if (fd < 0) return false;
	if (!hear(p, fd, EPOLLPRI)) {
		close(fd);
		return false;
	}
	p->stall = fd;
	p->stall_drains = false;
	p->stall_source = HYP_PRESSURE_FROM_STALL;
	p->latch = open_latch(path, trigger, sizeof trigger);
	return true;
}

/* Of the process's group, else of the whole machine. */
static void open_stall(hyp_pressure *p) {
	char path[PATH_BYTES + 64];
	hypi_format(path, sizeof path, "%s/memory.pressure", p->folders[0].path);
	if (p->groups == 0 || p->version1 || !open_trigger(p, path)) open_trigger(p, p->machine);
}

static void open_sources(hyp_pressure *p, const hyp_pressure_config *c, const char *root) {
	char path[PATH_BYTES + 64];
	const char *watch = c->watch, *text = c->write;
	for (char *const *e = hypi_os_environment(); e != NULL && *e != NULL && !hypi_os.secure; e++) {
		if (watch == NULL && strncmp(*e, "MEMORY_PRESSURE_WATCH=", 22) == 0) watch = *e + 22;
		if (text == NULL && strncmp(*e, "MEMORY_PRESSURE_WRITE=", 22) == 0) text = *e + 22;
	}
	bool quiet = watch != NULL && strcmp(watch, "/dev/null") == 0; /* the protocol's word for: do not watch */
	hypi_format(p->machine, sizeof p->machine, "%s/proc/pressure/memory", root);
	find_groups(p, root);
	if (!open_watch(p, watch, text) && !quiet) open_stall(p);
	if (p->groups != 0 && !p->version1) {
		hypi_format(path, sizeof path, "%s/memory.events", p->folders[0].path);
		p->events = open(path, O_RDONLY | O_CLOEXEC);
		if (p->events >= 0)
			hear(p, p->events, EPOLLPRI); /* a file of a test cannot be waited for: it is read at each poll */
		hear_events(p, true);
	}
	hear_limits(p, true);
}

/* ---- the interface ---- */

hyp_status hyp_pressure_open(const hyp_pressure_config *config, hyp_pressure **ret_pressure) {
	hyp_pressure_config c;
	hypi_pressure_levels levels;
	hyp_status status = hypi_pressure_configure(config, &c, &levels);
	if (status != HYP_OK) return status;
	hyp_pressure *p = hypi_meta_alloc(sizeof *p);
	if (p == NULL) return HYP_ERR_NO_MEMORY;
	memset(p, 0, sizeof *p);
	p->levels = levels;
	p->stall = p->events = p->latch = -1;
	p->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (p->epoll < 0) {
		hypi_meta_free(p, sizeof *p);
		return HYP_ERR_OS;
	}
	open_sources(p, &c, c.root != NULL ? c.root : "");
	*ret_pressure = p;
	return HYP_OK;
}

void hyp_pressure_close(hyp_pressure *p) {
	if (p == NULL) return;
	if (p->stall >= 0) close(p->stall);
	if (p->latch >= 0) close(p->latch);
	if (p->events >= 0) close(p->events);
	close(p->epoll);
	hypi_meta_free(p, sizeof *p);
}

int hyp_pressure_fd(const hyp_pressure *p) { return p->epoll; }

hyp_pressure_level hyp_pressure_poll(hyp_pressure *p) {
	struct epoll_event ready[4];
	int saved = errno, count = epoll_wait(p->epoll, ready, 4, 0);
	for (int i = 0; i < count; i++)
		if (ready[i].data.fd == p->stall) hear_stall(p, ready[i].events);
	look_at_latch(p);
	hear_events(p, false);
	hear_limits(p, false);
	hyp_pressure_level level = hypi_pressure_settle(&p->levels, use_of_limits(p));
	errno = saved;
	return level;
}
