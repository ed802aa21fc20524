# clang: C and C++ at -O2, and its static analyzer.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: clang
# seconds: 120
cat > t.c <<'END'
#include <stdio.h>
#include <stdlib.h>
#define F(n) static int f##n(int x) { int a[16] = {n}; for (int i = 0; i < 16; i++) a[i % 16] += x * i ^ n; return a[x & 15]; }
#define F10(n) F(n##0) F(n##1) F(n##2) F(n##3) F(n##4) F(n##5) F(n##6) F(n##7) F(n##8) F(n##9)
#define F100(n) F10(n##0) F10(n##1) F10(n##2) F10(n##3) F10(n##4) F10(n##5) F10(n##6) F10(n##7) F10(n##8) F10(n##9)
F100(1) F100(2) F100(3) F100(4) F100(5) F100(6)
int main(void) { char *p = malloc(10); int s = f100(1) + f699(5) + f345(9); free(p); printf("%d\n", s); return 0; }
END
clang -O2 -Wno-unused-function -c t.c -o t.o && clang t.o -o t && ./t
cksum < t.o
clang --analyze -Xclang -analyzer-output=text t.c > analysis 2>&1
wc -l < analysis
