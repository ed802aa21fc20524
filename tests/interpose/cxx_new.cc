/*
 * The C++ operators under the preload library (RELIABILITY.md rows 14 and 27).
 *
 * new throws bad_alloc (though the library links no C++ runtime) and first calls the new_handler, again and again, until
 * it frees memory, throws, or takes itself away; the nothrow forms do the same and give nullptr. Every form of delete
 * takes nullptr and what its new gave, with size 0 and with every alignment.
 */
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <sys/resource.h>
#include <thread>
#include <vector>

static std::atomic<int> failures;
#define CHECK(condition) \
	do { \
		if (!(condition)) { \
			std::fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
			failures++; \
		} \
	} while (0)

#ifdef __clang__
static const bool clang_compiled = true;
#else
static const bool clang_compiled = false;
#endif
static const std::size_t too_large = SIZE_MAX / 2 - 100000;
static const std::align_val_t wide{256};
static int handled;

struct own_error : std::bad_alloc {};

static void give_up_after_five() {
	if (++handled == 5) std::set_new_handler(nullptr);
}
static void throw_own() {
	handled++;
	throw own_error();
}

template <class Call> static void check_throwing(Call call, const char *name) {
	bool thrown = false;
	std::set_new_handler(nullptr);
	try {
		(void)call(too_large);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	if (!thrown) std::fprintf(stderr, "%s did not throw\n", name);
	CHECK(thrown);
	thrown = false;
	handled = 0;
	std::set_new_handler(give_up_after_five);
	try {
		(void)call(too_large);
	} catch (const std::bad_alloc &) {
		thrown = true;
	}
	if (!thrown || handled != 5) std::fprintf(stderr, "%s: the handler was called %d times\n", name, handled);
	CHECK(thrown && handled == 5);
	thrown = false;
	handled = 0;
	std::set_new_handler(throw_own);
	try {
		(void)call(too_large);
	} catch (const own_error &) {
		thrown = true;
	}
	CHECK(thrown && handled == 1);
	std::set_new_handler(nullptr);
}

template <class Call> static void check_nothrow(Call call, const char *name) {
	std::set_new_handler(nullptr);
	CHECK(call(too_large) == nullptr);
	handled = 0;
	std::set_new_handler(give_up_after_five);
	CHECK(call(too_large) == nullptr);
	if (handled != 5) std::fprintf(stderr, "%s: the handler was called %d times\n", name, handled);
	CHECK(handled == 5);
	handled = 0;
	std::set_new_handler(throw_own);
	CHECK(call(too_large) == nullptr); /* a bad_alloc of the handler becomes nullptr */
	CHECK(handled == 1);
	std::set_new_handler(nullptr);
}

static void failing() {
	using std::size_t;
	check_throwing([](size_t n) { return ::operator new(n); }, "new");
	check_throwing([](size_t n) { return ::operator new[](n); }, "new[]");
	check_throwing([](size_t n) { return ::operator new(n, wide); }, "new aligned");
	check_throwing([](size_t n) { return ::operator new[](n, wide); }, "new[] aligned");
	check_nothrow([](size_t n) { return ::operator new(n, std::nothrow); }, "new nothrow");
	check_nothrow([](size_t n) { return ::operator new[](n, std::nothrow); }, "new[] nothrow");
	check_nothrow([](size_t n) { return ::operator new(n, wide, std::nothrow); }, "new aligned nothrow");
	check_nothrow([](size_t n) { return ::operator new[](n, wide, std::nothrow); }, "new[] aligned nothrow");
	volatile std::size_t count = SIZE_MAX / 4, absurd = std::size_t(1) << 62;
	bool thrown = false;
	try {
		std::unique_ptr<long[]> p(new long[count]);
	} catch (const std::bad_alloc &error) {
		/* Clang asks operator new[] for SIZE_MAX bytes instead of throwing the narrower class itself. */
		thrown = clang_compiled || dynamic_cast<const std::bad_array_new_length *>(&error) != nullptr;
	}
	CHECK(thrown);
	CHECK(new (std::nothrow) long[SIZE_MAX / 64 + count / 64] == nullptr);
	CHECK(::operator new (100, std::align_val_t{absurd}, std::nothrow) == nullptr);
}

/* The handler gives memory back (here: raises the limit), and new then succeeds. */
static void *reserve;
static void release_reserve() {
	handled++;
	rlimit limit{RLIM_INFINITY, RLIM_INFINITY};
	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_AS, &limit);
}
static void recovering() {
	rlimit limit{};
	getrlimit(RLIMIT_AS, &limit);
	rlimit tight = limit;
	tight.rlim_cur = std::size_t(400) << 20;
	if (setrlimit(RLIMIT_AS, &tight) != 0) return;
	handled = 0;
	std::set_new_handler(release_reserve);
	reserve = ::operator new(std::size_t(600) << 20);
	CHECK(reserve != nullptr && handled == 1);
	::operator delete(reserve);
	std::set_new_handler(nullptr);
	setrlimit(RLIMIT_AS, &limit);
}

static void sizes_and_alignments() {
	void *a = ::operator new(0), *b = ::operator new(0), *c = ::operator new[](0), *d = ::operator new(0, wide);
	CHECK(a && b && c && d && a != b);
	::operator delete(a, std::size_t(0));
	::operator delete(b);
	::operator delete[](c, std::size_t(0));
	::operator delete(d, 0, wide); /* size 0 with an alignment: jemalloc aborted here */
	for (std::size_t alignment = 1; alignment <= 65536; alignment *= 2) {
		std::align_val_t al{alignment};
		for (std::size_t size = 0; size < 300000; size = size * 3 + 1) {
			void *p[6] = {::operator new(size, al),
			              ::operator new[](size, al),
			              ::operator new(size, al, std::nothrow),
			              ::operator new[](size, al, std::nothrow),
			              ::operator new(size, al),
			              ::operator new[](size, al)};
			for (void *q : p) {
				CHECK(q && (reinterpret_cast<std::uintptr_t>(q) & (alignment - 1)) == 0);
				if (q) std::memset(q, 1, size);
			}
			::operator delete(p[0], al);
			::operator delete[](p[1], al);
			::operator delete(p[2], al, std::nothrow);
			::operator delete[](p[3], al, std::nothrow);
			::operator delete(p[4], size, al);
			::operator delete[](p[5], size, al);
		}
	}
	for (std::size_t size = 0; size < (std::size_t(3) << 20); size = size * 4 / 3 + 1) {
		::operator delete(::operator new(size), size);
		::operator delete[](::operator new[](size), size);
		::operator delete(::operator new(size, std::nothrow), std::nothrow);
		::operator delete[](::operator new[](size, std::nothrow), std::nothrow);
		std::free(::operator new(size)); /* against the standard, and done everywhere */
	}
	void *none = nullptr;
	::operator delete(none);
	::operator delete[](none);
	::operator delete(none, std::size_t(8));
	::operator delete[](none, std::size_t(8));
	::operator delete(none, wide);
	::operator delete[](none, wide);
	::operator delete(none, 8, wide);
	::operator delete[](none, 8, wide);
	::operator delete(none, std::nothrow);
	::operator delete[](none, std::nothrow);
	::operator delete(none, wide, std::nothrow);
	::operator delete[](none, wide, std::nothrow);
}

struct alignas(128) base {
	virtual ~base() = default;
	char bytes[100] = {};
};
struct derived : base {
	std::string text = std::string(300, 'x');
	std::vector<int> numbers = std::vector<int>(1000, 7);
};

static void library_types() {
	for (int round = 0; round < 50; round++) {
		std::map<std::string, std::unique_ptr<base>> all;
		for (int i = 0; i < 200; i++) all[std::to_string(i * 7919)] = std::make_unique<derived>();
		for (auto &entry : all) CHECK(reinterpret_cast<std::uintptr_t>(entry.second.get()) % 128 == 0);
		std::vector<std::shared_ptr<derived>> shared(100, std::make_shared<derived>());
		shared.resize(5000);
		std::unique_ptr<derived[]> array(new derived[20]);
	}
}

static void thrower() {
	for (int i = 0; i < 2000; i++) {
		try {
			(void)::operator new(too_large);
			failures++;
		} catch (const std::bad_alloc &) {
			std::string text(100, 'y');
			CHECK(text.size() == 100);
		}
	}
}

int main() {
	sizes_and_alignments();
	failing();
	recovering();
	library_types();
	std::vector<std::thread> threads;
	for (int i = 0; i < 4; i++) threads.emplace_back(i % 2 ? thrower : library_types);
	for (auto &t : threads) t.join();
	return failures != 0;
}
