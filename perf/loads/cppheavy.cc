// A C++ program with heavy new and delete, as a real program has them: a map of strings, an index of vectors, a tree of
// shared pointers, text split and joined. It prints one checksum, the same under every allocator; perf/compare measures
// the process from outside.
//
//   cppheavy [ROUNDS]
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace {

std::uint64_t state = 88172645463325252ULL;

std::uint64_t draw(std::uint64_t limit) {
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state % limit;
}

std::string word() {
	std::string text;
	for (std::uint64_t i = 0, n = 3 + draw(30); i < n; i++) {
		text.push_back(static_cast<char>('a' + draw(26)));
	}
	return text;
}

struct Node {
	std::string label;
	std::vector<std::shared_ptr<Node>> children;
};

std::shared_ptr<Node> tree(int depth) {
	auto node = std::make_shared<Node>();
	node->label = word();
	for (std::uint64_t i = 0, n = depth > 0 ? 2 + draw(4) : 0; i < n; i++) {
		node->children.push_back(tree(depth - 1));
	}
	return node;
}

std::uint64_t weigh(const Node &node) {
	std::uint64_t sum = node.label.size();
	for (const auto &child : node.children) {
		sum += weigh(*child);
	}
	return sum;
}

std::uint64_t dictionary_round() {
	std::map<std::string, std::vector<std::string>> index;
	std::unordered_map<std::string, std::uint64_t> counts;
	for (int i = 0; i < 30000; i++) {
		std::string key = word();
		index[key.substr(0, 3)].push_back(key);
		counts[key.substr(0, 2) + "-" + std::to_string(i % 700)]++;
	}
	std::uint64_t sum = counts.size();
	while (index.size() > 100) {
		auto at = index.lower_bound(word());
		if (at == index.end()) {
			at = index.begin();
		}
		sum += at->second.size();
		index.erase(at);
	}
	return sum;
}

std::uint64_t text_round() {
	std::list<std::string> lines;
	for (int i = 0; i < 4000; i++) {
		std::string line;
		for (int j = 0; j < 12; j++) {
			line += word() + " ";
		}
		lines.push_back(line);
	}
	std::uint64_t sum = 0;
	for (const auto &line : lines) {
		std::vector<std::string> parts;
		std::string::size_type from = 0;
		for (auto to = line.find(' '); to != std::string::npos; to = line.find(' ', from)) {
			parts.push_back(line.substr(from, to - from));
			from = to + 1;
		}
		sum += parts.size() + parts.back().size();
	}
	return sum;
}

} // namespace

int main(int argc, char **argv) {
	int rounds = argc > 1 ? std::atoi(argv[1]) : 12;
	std::uint64_t sum = 0;
	for (int i = 0; i < rounds; i++) {
		sum = sum * 31 + dictionary_round();
		sum = sum * 31 + text_round();
		sum = sum * 31 + weigh(*tree(8));
	}
	std::printf("%llu\n", static_cast<unsigned long long>(sum));
	return 0;
}
