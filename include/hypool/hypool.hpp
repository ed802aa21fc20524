/*
 * hypool/hypool.hpp: pools for C++17: an owner, a std::pmr memory resource, and an allocator for containers.
 *
 *     hyp::pool pool;                                  // the defaults; throws hyp::error
 *     std::pmr::vector<int> v(pool.resource());        // any std::pmr container
 *     std::map<K, V, C, hyp::allocator<...>> m(pool);  // any container with an allocator
 *
 * Header only, over hypool/pool.h. What a container holds must be gone before its pool.
 */
#ifndef HYPOOL_HYPOOL_HPP
#define HYPOOL_HYPOOL_HPP

#include <hypool/pool.h>

#include <cstddef>
#include <exception>
#include <limits>
#include <memory_resource>
#include <new>
#include <string>
#include <utility>

namespace hyp {

/* What a call that returns a status says when it fails. */
class error : public std::exception {
  public:
	error(hyp_status status, const char *reason) : status_(status), text_(hyp_status_message(status)) {
		if (reason != nullptr && *reason != '\0') text_ += std::string(": ") + reason;
	}
	hyp_status status() const noexcept { return status_; }
	const char *what() const noexcept override { return text_.c_str(); }

  private:
	hyp_status status_;
	std::string text_;
};

/* A pool as a memory resource; it does not own the pool. Two are equal when their pools are the same. */
class memory_resource final : public std::pmr::memory_resource {
  public:
	explicit memory_resource(hyp_pool *pool = hyp_pool_default()) noexcept : pool_(pool) {}
	hyp_pool *get() const noexcept { return pool_; }

  private:
	void *do_allocate(std::size_t bytes, std::size_t alignment) override {
		void *p = alignment <= 16 ? hyp_pool_malloc(pool_, bytes) : hyp_pool_aligned_alloc(pool_, alignment, bytes);
		if (p == nullptr) throw std::bad_alloc();
		return p;
	}
	void do_deallocate(void *p, std::size_t, std::size_t) override { hyp_pool_free(pool_, p); }
	bool do_is_equal(const std::pmr::memory_resource &other) const noexcept override {
		auto same = dynamic_cast<const memory_resource *>(&other);
		return same != nullptr && same->pool_ == pool_;
	}

	hyp_pool *pool_;
};

/* Owns a pool; can be moved, not copied. */
class pool {
  public:
	pool() : pool(nullptr) {}
	explicit pool(const hyp_pool_config &config) : pool(&config) {}
	pool(pool &&other) noexcept : pool_(std::exchange(other.pool_, nullptr)), resource_(pool_) {}
	pool &operator=(pool &&other) noexcept {
		std::swap(pool_, other.pool_);
		std::swap(resource_, other.resource_);
		return *this;
	}
	pool(const pool &) = delete;
	pool &operator=(const pool &) = delete;
	~pool() { hyp_pool_destroy(pool_); }

	hyp_pool *get() const noexcept { return pool_; }
	std::pmr::memory_resource *resource() noexcept { return &resource_; }

	void reset() {
		if (hyp_status status = hyp_pool_reset(pool_); status != HYP_OK) throw error(status, nullptr);
	}
	hyp_stats stats() const {
		hyp_stats stats = {};
		stats.struct_bytes = sizeof stats;
		if (hyp_status status = hyp_pool_stats(pool_, &stats); status != HYP_OK) throw error(status, nullptr);
		return stats;
	}

  private:
	explicit pool(const hyp_pool_config *config) : pool_(nullptr), resource_(nullptr) {
		if (hyp_status status = hyp_pool_create(config, &pool_); status != HYP_OK)
			throw error(status, hyp_pool_config_error());
		resource_ = memory_resource(pool_);
	}

	hyp_pool *pool_;
	memory_resource resource_;
};

/* An allocator for the standard containers. Without an argument it serves the default pool. It goes along when a
 * container is copied, moved or swapped: a container's elements are always in its allocator's pool. */
template <class T> class allocator {
  public:
	using value_type = T;
	using propagate_on_container_copy_assignment = std::true_type;
	using propagate_on_container_move_assignment = std::true_type;
	using propagate_on_container_swap = std::true_type;

	allocator() noexcept : pool_(hyp_pool_default()) {}
	allocator(hyp_pool *pool) noexcept : pool_(pool) {}
	allocator(const hyp::pool &pool) noexcept : pool_(pool.get()) {}
	template <class U> allocator(const allocator<U> &other) noexcept : pool_(other.get()) {}

	T *allocate(std::size_t count) {
		if (count > std::numeric_limits<std::size_t>::max() / sizeof(T)) throw std::bad_array_new_length();
		void *p = alignof(T) <= 16 ? hyp_pool_malloc(pool_, count * sizeof(T))
		                           : hyp_pool_aligned_alloc(pool_, alignof(T), count * sizeof(T));
		if (p == nullptr) throw std::bad_alloc();
		return static_cast<T *>(p);
	}
	void deallocate(T *p, std::size_t) noexcept { hyp_pool_free(pool_, p); }
	hyp_pool *get() const noexcept { return pool_; }

	template <class U> bool operator==(const allocator<U> &other) const noexcept { return pool_ == other.get(); }
	template <class U> bool operator!=(const allocator<U> &other) const noexcept { return pool_ != other.get(); }

  private:
	hyp_pool *pool_;
};

} // namespace hyp

#endif
