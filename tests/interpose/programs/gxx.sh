# g++: templates and the standard library, compiled and run.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: g++
# seconds: 120
cat > t.cc <<'END'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <set>
#include <sstream>
#include <thread>
#include <tuple>
#include <unordered_map>
#include <variant>
#include <vector>
template <int N> struct Fib { static constexpr long value = Fib<N - 1>::value + Fib<N - 2>::value; };
template <> struct Fib<0> { static constexpr long value = 0; };
template <> struct Fib<1> { static constexpr long value = 1; };
template <class... T> auto all(T... t) { return std::make_tuple(std::vector<T>(100, t)...); }
int main() {
	std::cout << Fib<80>::value << "\n";
	std::unordered_map<std::string, std::vector<int>> m;
	for (int i = 0; i < 200000; i++) m["k" + std::to_string(i % 5003)].push_back(i);
	std::size_t n = 0;
	for (auto &e : m) n += e.second.size();
	std::cout << n << " " << std::get<1>(all(1, std::string("x"), 2.5)).size() << "\n";
	std::regex re("([a-z]+)(\\d+)");
	std::string text;
	for (int i = 0; i < 2000; i++) text += "word" + std::to_string(i) + " ";
	std::cout << std::distance(std::sregex_iterator(text.begin(), text.end(), re), {}) << "\n";
	std::vector<std::thread> threads;
	std::vector<long> sums(4);
	for (int t = 0; t < 4; t++) threads.emplace_back([&, t] { std::set<std::string> s; for (int i = 0; i < 50000; i++) s.insert(std::to_string(i * 7919 % 10007)); sums[t] = (long)s.size(); });
	for (auto &t : threads) t.join();
	std::cout << sums[0] + sums[3] << "\n";
	try { std::vector<int> v; v.at(3); } catch (const std::out_of_range &) { std::cout << "thrown\n"; }
	try { std::string s(std::string().max_size() - 1, 'x'); } catch (const std::bad_alloc &) { std::cout << "bad_alloc\n"; }
}
END
g++ -std=c++17 -O2 -c t.cc -o t.o && g++ t.o -o t -pthread && ./t
cksum < t.o
