/*
 * Pools from C++: an owner, std::pmr containers over a pool, containers with an allocator, and what happens at a limit.
 */
#include <hypool/hypool.hpp>

#include <cstdio>
#include <map>
#include <memory_resource>
#include <string>
#include <vector>

int main() {
	hyp_pool_config config;
	hyp_pool_config_init(&config);
	config.name = "strings";
	config.max_large_bytes = 8 << 20;
	config.initial_large_bytes = 0;
	hyp::pool pool(config);

	{
		std::pmr::vector<std::pmr::string> words(pool.resource());
		for (int i = 0; i < 1000; i++) words.emplace_back("a string that is too long to be kept in the object itself");
		using entry = std::pair<const int, double>;
		std::map<int, double, std::less<int>, hyp::allocator<entry>> squares{hyp::allocator<entry>(pool)};
		for (int i = 0; i < 1000; i++) squares[i] = double(i) * i;
		struct alignas(64) line {
			char bytes[64];
		};
		std::vector<line, hyp::allocator<line>> lines(100, line{}, hyp::allocator<line>(pool));
		std::printf("blocks in use: %s, aligned: %s, this pool's: %s\n", pool.stats().active > 2000 ? "yes" : "no",
		            reinterpret_cast<std::uintptr_t>(lines.data()) % 64 == 0 ? "yes" : "no",
		            hyp_pool_of(words.data()) == pool.get() ? "yes" : "no");
		auto copy = words; /* pmr: a copy goes to the default resource */
		auto moved = std::move(squares);
		std::printf("moved map: %zu entries, %g\n", moved.size(), moved[30]);
	}
	std::printf("blocks left: %llu\n", static_cast<unsigned long long>(pool.stats().active));

	try {
		std::pmr::vector<char> too_much(100 << 20, pool.resource());
		return 1;
	} catch (const std::bad_alloc &) {
		std::puts("at the limit: std::bad_alloc");
	}
	config.threshold_bytes = 1;
	try {
		hyp::pool refused(config);
		return 1;
	} catch (const hyp::error &e) {
		std::puts(e.what());
	}
	return pool.stats().active == 0 ? 0 : 1;
}
