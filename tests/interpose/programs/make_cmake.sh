# make and cmake: a project of 40 files configured and built by two jobs (vfork, pipes, many short processes).
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: make cmake gcc
# seconds: 120
mkdir s
for i in $(seq 40); do printf 'int f%d(int x) { return x * %d; }\n' $i $i > s/f$i.c; done
{ for i in $(seq 40); do echo "int f$i(int);"; done; echo '#include <stdio.h>'; echo 'int main(void) { int s = 0;'; for i in $(seq 40); do echo "s += f$i(2);"; done; printf '%s\n' 'printf("%d\n", s); return 0; }'; } > s/main.c
printf 'cmake_minimum_required(VERSION 3.10)\nproject(t C)\nfile(GLOB files *.c)\nadd_executable(t ${files})\nenable_testing()\nadd_test(NAME t COMMAND t)\n' > s/CMakeLists.txt
cmake -S s -B b > configure.log && make -C b -j2 > build.log && b/t
make -C b test | grep -c '100% tests passed'
printf 'n := $(shell seq 300)\nall: $(n:%%=o%%)\no%%:\n\t@echo $* > $@\n\t@test -s $@\n' > Makefile
make -s -j4 && ls o* | wc -l && cat $(ls o* | sort) | cksum
