# python3's own test package, a bounded part: Debian's libpython3.11-testsuite.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: python3
# seconds: 240
# judges itself
python3 -c 'import test.test_list' || { echo "python3 has no test package"; exit 77; }
PYTHONMALLOC=malloc python3 -m test -q test_list test_dict test_set test_bytes test_unicode test_array test_heapq \
	test_deque test_json test_pickle test_zlib test_struct test_memoryview test_weakref test_gc test_ctypes test_thread \
	test_threading test_threadsignals test_fork1 test_posix test_re test_long test_generators test_exceptions \
	test_collections test_decimal > log 2>&1 || { tail -60 log; exit 1; }
grep -E '^(Tests result|== Tests result|All [0-9]+ tests OK)' log | sed 's/.*SUCCESS.*/SUCCESS/' | sort -u
