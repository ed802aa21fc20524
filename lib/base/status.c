/* base/status.c: names and messages of statuses, made from hypool/status.def. */
#include "base/compiler.h"

#include <hypool/status.h>

const char *hyp_status_message(hyp_status status) {
	switch (status) {
#define HYP_STATUS_X(name, number, message) \
	case HYP_##name: \
		return message;
#include <hypool/status.def>
#undef HYP_STATUS_X
	}
	return "unknown status";
}

const char *hyp_status_name(hyp_status status) {
	switch (status) {
#define HYP_STATUS_X(name, number, message) \
	case HYP_##name: \
		return "HYP_" #name;
#include <hypool/status.def>
#undef HYP_STATUS_X
	}
	return "unknown status";
}
