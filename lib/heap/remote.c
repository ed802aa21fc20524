/*
 * heap/remote.c: frees by a thread that does not own the span.
 *
 * The outbox is a small direct-mapped table from span to a chain of blocks not pushed yet; it holds at most
 * HYPI_OUTBOX_BYTES of each span, and is pushed when an entry is full or wanted for another span, when the heap looks
 * after itself, and when its thread ends. A block in an outbox still counts as live for its owner.
 */
#include "heap/heap.h"

#include "base/fatal.h"

void hypi_heap_reclaim(hypi_heap *heap) {
	/* Who pushes stacks the span and then reads the state; here the state is written and then the stack read. All four
	 * are sequentially consistent, so one of the two sees the other, and nothing stays on an orphan's stack. */
	do {
		uint32_t expected = HYPI_HEAP_ORPHAN;
		/* acquire: pairs with the store below and in hypi_heap_abandon */
		if (!hypi_cas_strong_acquire(&heap->state, &expected, HYPI_HEAP_OWNED)) return;
		heap->busy = true;
		hypi_heap_drain(heap);
		heap->busy = false;
		atomic_store(&heap->state, HYPI_HEAP_ORPHAN);
	} while (atomic_load(&heap->pending) != NULL);
}

static void stack(hypi_heap *owner, hypi_span *span) {
	hypi_span *top = hypi_load_relaxed(&owner->pending);
	do hypi_store_relaxed(&span->pending_next, top);
	while (!atomic_compare_exchange_weak(&owner->pending, &top, span)); /* pairs with the acquire in hypi_heap_drain */
}

/* `heap`: the caller's, or NULL. */
static void push(hypi_heap *heap, hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count) {
	hypi_heap *owner = hypi_load_relaxed(&span->owner);
	if (heap != NULL) hypi_store_relaxed(&heap->pushing, span);
	atomic_signal_fence(memory_order_seq_cst); /* for hypi_remote_forked */
	if (hypi_span_push_remote(span, head, tail, count)) stack(owner, span);
	atomic_signal_fence(memory_order_seq_cst);
	if (heap != NULL) hypi_store_relaxed(&heap->pushing, NULL);
	if (HYP_UNLIKELY(atomic_load(&owner->state) == HYPI_HEAP_ORPHAN)) hypi_heap_reclaim(owner);
}

void hypi_remote_forked(hypi_heap *heap) {
	hypi_span *span = hypi_load_relaxed(&heap->pushing);
	if (span == NULL) return;
	hypi_store_relaxed(&heap->pushing, NULL);
	/* After the push the owner may have given the span back, and its record may be another thing by now. */
	if (hypi_span_at((void *)span->base) != span || hypi_load_relaxed(&span->kind) != HYPI_SPAN_SMALL) return;
	if ((hypi_load_relaxed(&span->remote) & HYPI_PENDING) == 0) return;
	hypi_heap *owner = hypi_load_relaxed(&span->owner);
	const hypi_span *on = hypi_load_relaxed(&owner->pending);
	while (on != NULL && on != span) on = hypi_load_relaxed(&on->pending_next);
	if (on == NULL) stack(owner, span);
}

static void push_entry(hypi_heap *heap, hypi_outbox_entry *entry) {
	push(heap, entry->span, entry->head, entry->tail, entry->count);
	entry->span = NULL;
}

void hypi_remote_free(hypi_heap *heap, hypi_span *span, hypi_block *block) {
	if (heap != NULL) hypi_count_add(&heap->bins[span->class_index].sent, 1);
	else hypi_add_relaxed(&hypi_load_relaxed(&span->owner)->engine->homeless_frees[span->class_index], 1);
	hypi_remote_send(heap, span, block, block, 1);
}

static void put_out(hypi_heap *heap, hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count) {
	size_t slot = ((uintptr_t)span >> 7) ^ ((uintptr_t)span >> 12);
	hypi_outbox_entry *entry = &heap->outbox[slot & (HYPI_OUTBOX_ENTRIES - 1)];
	if (entry->span == span) {
		hypi_link_set(tail, entry->head);
		entry->head = head;
		entry->count += count;
	} else {
		if (entry->span != NULL) push_entry(heap, entry);
		hypi_link_set(tail, NULL); /* marks it free until the push links it on */
		*entry = (hypi_outbox_entry){.span = span, .head = head, .tail = tail, .count = count};
	}
	if (entry->count * span->block_bytes >= HYPI_OUTBOX_BYTES) push_entry(heap, entry);
}

void hypi_remote_send(hypi_heap *heap, hypi_span *span, hypi_block *head, hypi_block *tail, uint32_t count) {
	if (heap == NULL) {
		push(NULL, span, head, tail, count);
		return;
	}
	bool was_busy = hypi_heap_enter(heap);
	if (count * span->block_bytes > HYPI_OUTBOX_BYTES / 2) push(heap, span, head, tail, count);
	else put_out(heap, span, head, tail, count);
	hypi_heap_leave(heap, was_busy);
}

void hypi_remote_flush(hypi_heap *heap) {
	for (unsigned i = 0; i < HYPI_OUTBOX_ENTRIES; i++)
		if (heap->outbox[i].span != NULL) push_entry(heap, &heap->outbox[i]);
}
