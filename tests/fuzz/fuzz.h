/*
 * tests/fuzz/fuzz.h: what a fuzz target is: libFuzzer's entry point. With -fsanitize=fuzzer the library drives it;
 * without, corpus.c gives it every file of a corpus, so that any compiler runs what is known.
 */
#ifndef HYP_TESTS_FUZZ_FUZZ_H
#define HYP_TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count);

#endif
