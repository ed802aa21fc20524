/*
 * One program a subset of replaced operators (RELIABILITY.md row 13); cxx_replace.py compiles and links this file.
 *
 * With -DFORM=n: the definition of form n, which counts its calls. Without: the program, told by argv[1] (a mask in
 * hexadecimal) which forms were linked in. It calls all 20 forms and checks where each call arrived: the standard fixes
 * which default form calls which ([new.delete]), so a call must reach the first replaced form of its chain, and
 * nothing else. Where both basic forms are replaced, blocks come from an arena of the program's own, so that a form
 * which bypasses the program hands a foreign pointer to somebody's free.
 */
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <new>

extern int hits[20];
extern unsigned mask;
void *replaced_new(std::size_t size, std::size_t alignment);
void replaced_delete(void *p, bool aligned);

using std::align_val_t;
using std::nothrow_t;
using std::size_t;

#ifdef FORM
#define AL static_cast<size_t>(al)
#if FORM == 0
void *operator new(size_t n) { return hits[0]++, replaced_new(n, 0); }
#elif FORM == 1
void *operator new[](size_t n) { return hits[1]++, replaced_new(n, 0); }
#elif FORM == 2
void *operator new(size_t n, const nothrow_t &) noexcept { return hits[2]++, replaced_new(n, 0); }
#elif FORM == 3
void *operator new[](size_t n, const nothrow_t &) noexcept { return hits[3]++, replaced_new(n, 0); }
#elif FORM == 4
void operator delete(void *p) noexcept { hits[4]++, replaced_delete(p, false); }
#elif FORM == 5
void operator delete[](void *p) noexcept { hits[5]++, replaced_delete(p, false); }
#elif FORM == 6
void operator delete(void *p, const nothrow_t &) noexcept { hits[6]++, replaced_delete(p, false); }
#elif FORM == 7
void operator delete[](void *p, const nothrow_t &) noexcept { hits[7]++, replaced_delete(p, false); }
#elif FORM == 8
void operator delete(void *p, size_t) noexcept { hits[8]++, replaced_delete(p, false); }
#elif FORM == 9
void operator delete[](void *p, size_t) noexcept { hits[9]++, replaced_delete(p, false); }
#elif FORM == 10
void *operator new(size_t n, align_val_t al) { return hits[10]++, replaced_new(n, AL); }
#elif FORM == 11
void *operator new[](size_t n, align_val_t al) { return hits[11]++, replaced_new(n, AL); }
#elif FORM == 12
void *operator new(size_t n, align_val_t al, const nothrow_t &) noexcept { return hits[12]++, replaced_new(n, AL); }
#elif FORM == 13
void *operator new[](size_t n, align_val_t al, const nothrow_t &) noexcept { return hits[13]++, replaced_new(n, AL); }
#elif FORM == 14
void operator delete(void *p, align_val_t) noexcept { hits[14]++, replaced_delete(p, true); }
#elif FORM == 15
void operator delete[](void *p, align_val_t) noexcept { hits[15]++, replaced_delete(p, true); }
#elif FORM == 16
void operator delete(void *p, align_val_t, const nothrow_t &) noexcept { hits[16]++, replaced_delete(p, true); }
#elif FORM == 17
void operator delete[](void *p, align_val_t, const nothrow_t &) noexcept { hits[17]++, replaced_delete(p, true); }
#elif FORM == 18
void operator delete(void *p, size_t, align_val_t) noexcept { hits[18]++, replaced_delete(p, true); }
#elif FORM == 19
void operator delete[](void *p, size_t, align_val_t) noexcept { hits[19]++, replaced_delete(p, true); }
#endif

#else

int hits[20];
unsigned mask;
static const int calls_on[20] = {-1, 0, 0, 1, -1, 4, 4, 5, 4, 5, -1, 10, 10, 11, -1, 14, 14, 15, 14, 15};
static const char *const names[20] = {"new",
                                      "new[]",
                                      "new nothrow",
                                      "new[] nothrow",
                                      "delete",
                                      "delete[]",
                                      "delete nothrow",
                                      "delete[] nothrow",
                                      "delete sized",
                                      "delete[] sized",
                                      "new aligned",
                                      "new[] aligned",
                                      "new aligned nothrow",
                                      "new[] aligned nothrow",
                                      "delete aligned",
                                      "delete[] aligned",
                                      "delete aligned nothrow",
                                      "delete[] aligned nothrow",
                                      "delete sized aligned",
                                      "delete[] sized aligned"};
static const size_t size = 100;
static const align_val_t al{64};
alignas(4096) static char arena[1 << 16];
static size_t arena_used;
static int failures;

static bool whole_family(bool aligned) {
	unsigned basic = aligned ? 1u << 10 | 1u << 14 : 1u << 0 | 1u << 4;
	return (mask & basic) == basic;
}

/* mask is 0 before main: what static constructors allocate is malloc's, and is never compared. */
void *replaced_new(size_t n, size_t alignment) {
	if (!whole_family(alignment != 0))
		return alignment ? std::aligned_alloc(alignment, (n + 63) / 64 * 64) : std::malloc(n);
	arena_used = (arena_used + 63) / 64 * 64 + n;
	return arena + arena_used - n;
}

void replaced_delete(void *p, bool aligned) {
	bool ours = p >= static_cast<void *>(arena) && p < static_cast<void *>(arena + sizeof arena);
	if (ours != whole_family(aligned)) failures++;
	if (!ours) std::free(p);
}

static void *call_new(int form) {
	switch (form) {
	case 0: return ::operator new(size);
	case 1: return ::operator new[](size);
	case 2: return ::operator new(size, std::nothrow);
	case 3: return ::operator new[](size, std::nothrow);
	case 10: return ::operator new(size, al);
	case 11: return ::operator new[](size, al);
	case 12: return ::operator new(size, al, std::nothrow);
	default: return ::operator new[](size, al, std::nothrow);
	}
}

static void call_delete(int form, void *p) {
	switch (form) {
	case 4: ::operator delete(p); break;
	case 5: ::operator delete[](p); break;
	case 6: ::operator delete(p, std::nothrow); break;
	case 7: ::operator delete[](p, std::nothrow); break;
	case 8: ::operator delete(p, size); break;
	case 9: ::operator delete[](p, size); break;
	case 14: ::operator delete(p, al); break;
	case 15: ::operator delete[](p, al); break;
	case 16: ::operator delete(p, al, std::nothrow); break;
	case 17: ::operator delete[](p, al, std::nothrow); break;
	case 18: ::operator delete(p, size, al); break;
	default: ::operator delete[](p, size, al); break;
	}
}

static void judge(int form, const int *before) {
	int wanted = form;
	while (wanted >= 0 && !(mask >> wanted & 1)) wanted = calls_on[wanted];
	for (int i = 0; i < 20; i++) {
		if (hits[i] - before[i] == (i == wanted)) continue;
		std::fprintf(stderr, "mask %#x: %s reached %s %d times, wanted %d\n", mask, names[form], names[i],
		             hits[i] - before[i], i == wanted);
		failures++;
	}
}

static void pair(int new_form, int delete_form) {
	int before[20];
	for (int i = 0; i < 20; i++) before[i] = hits[i];
	void *p = call_new(new_form);
	judge(new_form, before);
	*static_cast<volatile char *>(p) = 1;
	for (int i = 0; i < 20; i++) before[i] = hits[i];
	call_delete(delete_form, p);
	judge(delete_form, before);
}

int main(int argc, char **argv) {
	if (argc < 2) return 2;
	mask = static_cast<unsigned>(std::strtoul(argv[1], nullptr, 16));
	for (int family = 0; family <= 10; family += 10)
		for (int made = 0; made < 4; made++)
			for (int freed = 4; freed < 10; freed++) pair(family + made, family + freed);
	return failures != 0;
}
#endif
