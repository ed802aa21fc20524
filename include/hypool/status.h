/*
 * hypool/status.h: what a call returns when it is not of the malloc family.
 *
 * 0 is success. The numbers are pinned: they never change meaning. On any other value the outputs are untouched.
 */
#ifndef HYPOOL_STATUS_H
#define HYPOOL_STATUS_H

#ifdef __cplusplus
extern "C" {
#endif

#if defined(HYP_BUILDING) && defined(__GNUC__)
#define HYP_API __attribute__((visibility("default")))
#else
#define HYP_API
#endif
/* Functions that take a few nanoseconds: called through the table of addresses, not by way of a stub that jumps there. */
#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__) && !defined(HYP_BUILDING)
#define HYP_HOT_API HYP_API __attribute__((noplt))
#else
#define HYP_HOT_API HYP_API
#endif
#if defined(__GNUC__)
#define HYP_NODISCARD __attribute__((warn_unused_result))
#else
#define HYP_NODISCARD
#endif

typedef enum hyp_status {
#define HYP_STATUS_X(name, number, message) HYP_##name = number,
#include <hypool/status.def>
#undef HYP_STATUS_X
} hyp_status;

/* The message of a status, in static memory; never NULL. An unknown number gives "unknown status". Any thread. */
HYP_API const char *hyp_status_message(hyp_status status);

/* The name of a status ("HYP_ERR_STALE"), in static memory; never NULL. Any thread. */
HYP_API const char *hyp_status_name(hyp_status status);

#ifdef __cplusplus
}
#endif

#endif
