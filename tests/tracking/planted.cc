// A program with planted leaks, and with much that only looks like one: found must be exactly the first kind.
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#if defined(__clang__)
#define PLANTED __attribute__((noinline))
#else
#define PLANTED __attribute__((noinline, noclone))
#endif

struct node {
	node *next;
	char text[40];
};

static node *volatile kept; // volatile: the compiler may not drop what nobody reads
static void *volatile interior;
static std::vector<char *> *volatile hidden_in_heap;
static void *volatile sink;

PLANTED static void lost_objects() { // 13 of 100 bytes
	for (int i = 0; i < 13; i++) sink = new char[100];
	sink = nullptr;
}

PLANTED static void lost_cycle() { // 2 nodes of 48 bytes that only know each other
	node *a = new node, *b = new node;
	a->next = b;
	b->next = a;
	sink = a;
	sink = nullptr;
}

PLANTED static void lost_in_thread() { // 7 of 5000 bytes, by a thread that is gone
	for (int i = 0; i < 7; i++) sink = malloc(5000);
	sink = nullptr;
}

PLANTED static void lost_large() { // one of 3 MiB
	char *p = static_cast<char *>(malloc(3 << 20));
	memset(p, 1, 3 << 20);
	sink = p;
	sink = nullptr;
}

PLANTED static void lost_and_known() { // 5 of 64 bytes, which a suppression names
	for (int i = 0; i < 5; i++) sink = malloc(64);
	sink = nullptr;
}

PLANTED static void lost_steadily() { // 200 bytes every 2 ms, until a second has passed
	for (int i = 0; i < 500; i++) {
		sink = malloc(200);
		std::this_thread::sleep_for(std::chrono::milliseconds(2));
	}
	sink = nullptr;
}

PLANTED static void keep_list() {
	for (int i = 0; i < 1000; i++) {
		node *x = new node;
		x->next = kept;
		kept = x;
	}
}

PLANTED static void keep_otherwise() {
	interior = static_cast<char *>(malloc(1000)) + 500; // the middle is enough
	hidden_in_heap = new std::vector<char *>;           // reached through other blocks
	for (int i = 0; i < 100; i++) hidden_in_heap->push_back(new char[33]);
	char **table = static_cast<char **>(malloc(2 << 20)); // and through a large one
	for (int i = 0; i < 50; i++) table[i * 1000] = new char[77];
	hidden_in_heap->push_back(reinterpret_cast<char *>(table));
}

PLANTED static void wipe_stack() {
	volatile char deep[65536];
	for (size_t i = 0; i < sizeof deep; i++) deep[i] = 0;
}

int main(int argc, char **argv) {
	if (argc > 1 && strcmp(argv[1], "steadily") == 0) return lost_steadily(), 3;
	bool leaks = argc < 2 || strcmp(argv[1], "clean") != 0;
	if (leaks) {
		lost_objects();
		lost_cycle();
		std::thread(lost_in_thread).join();
		lost_large();
		lost_and_known();
	}
	keep_list();
	keep_otherwise();
	std::vector<std::string> gone;
	for (int i = 0; i < 1000; i++) gone.push_back(std::string(50, 'x'));
	wipe_stack();
	puts("planted");
	if (argc > 1 && strcmp(argv[1], "killed") == 0) raise(SIGKILL);
	return 3;
}
