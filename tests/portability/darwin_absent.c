/*
 * darwin_absent.c: what stands in lib/tracking and lib/cleanup, of which some files need Linux still, for the dylib that
 * darwin.sh links without them: pools are not cleaned automatically.
 */
#include "pool/pool.h"

static hyp_status created(hyp_pool *pool, const hyp_pool_config *config) {
	(void)pool;
	(void)config;
	return HYP_OK;
}
static void nothing(hyp_pool *pool) { (void)pool; }

const hypi_pool_hooks hypi_cleanup_hooks = {
	.created = created, .enter = nothing, .leave = nothing, .destroyed = nothing};
