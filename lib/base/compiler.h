/*
 * base/compiler.h: what the compiler and the processor are, in one place.
 *
 * Feature tests of the operating system and of the processor stand only here, in os/, kernels/ and interpose/.
 * Every HYP_ switch is defined as 0 or 1, so that -Wundef catches a misspelt one.
 */
#ifndef HYPI_BASE_COMPILER_H
#define HYPI_BASE_COMPILER_H

#if defined(__has_include)
#if __has_include("config.h")
#include "config.h"
#endif
#endif

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HYP_LIKELY(x) __builtin_expect(!!(x), 1)
#define HYP_UNLIKELY(x) __builtin_expect(!!(x), 0)
#define HYP_INLINE static inline __attribute__((always_inline))
/* Of data that hit paths look at: inside the library, so that no table is asked where it lies. */
#define HYP_HIDDEN __attribute__((visibility("hidden")))
#define HYP_NOINLINE __attribute__((noinline))
#define HYP_COLD __attribute__((noinline, cold))
#define HYP_MUST_USE __attribute__((warn_unused_result))
#define HYP_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define HYP_CACHE_LINE 64
#define HYP_CACHE_ALIGNED __attribute__((aligned(HYP_CACHE_LINE)))
#define HYP_ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))
#define HYP_CONTAINER_OF(p, type, field) ((type *)((char *)(p)-offsetof(type, field)))

/* Thread-local storage that costs one segment-relative load, also from a shared library. The whole library owns fewer
 * than 64 bytes of it, so that dlopen of the library fits in the loader's reserve (tests/lint checks the number). */
#define HYP_TLS __thread __attribute__((tls_model("initial-exec")))

#if defined(__linux__)
#define HYP_OS_LINUX 1
#else
#define HYP_OS_LINUX 0
#endif
#if defined(__APPLE__)
#define HYP_OS_DARWIN 1
#else
#define HYP_OS_DARWIN 0
#endif
#if defined(__x86_64__)
#define HYP_CPU_X86_64 1
#else
#define HYP_CPU_X86_64 0
#endif
#if defined(__aarch64__)
#define HYP_CPU_ARM64 1
#else
#define HYP_CPU_ARM64 0
#endif

#if defined(__SANITIZE_THREAD__)
#define HYP_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define HYP_TSAN 1
#endif
#endif
#ifndef HYP_TSAN
#define HYP_TSAN 0
#endif

/* Build switches; the build system may set them. */
#ifndef HYP_CHECKS /* detection of misuse on the ordinary path: double, invalid and misaligned free, corrupt links */
#define HYP_CHECKS 1
#endif
#ifndef HYP_DEBUG /* internal assertions */
#define HYP_DEBUG 0
#endif
#ifndef HYP_TEST_FAULTS /* the scripted failing OS (os/fault.h) */
#define HYP_TEST_FAULTS 0
#endif

_Static_assert(sizeof(void *) == 8, "hypool needs a 64-bit target");

#if HYP_DEBUG
void hypi_assert_failed(const char *what, const char *file, int line) __attribute__((noreturn));
#define HYP_ASSERT(x) ((x) ? (void)0 : hypi_assert_failed(#x, __FILE__, __LINE__))
#else
#define HYP_ASSERT(x) ((void)0)
#endif

#endif
