# gcc: a generated file of 1,500 functions at -O2 and at -O0 -g; the objects must be the same to the byte.
# shellcheck shell=bash disable=SC2002,SC2012,SC2015,SC2016,SC2034,SC2046,SC2086,SC2164
# needs: gcc python3
# seconds: 120
python3 - <<'END'
import random
random.seed(3)
with open("big.c", "w") as f:
    f.write("#include <stdio.h>\n#include <string.h>\n#include <math.h>\nstruct s { int a; double b; char c[40]; struct s *n; };\n")
    for i in range(1500):
        f.write(f"static double f{i}(struct s *p, int n) {{ double x = {i}; char t[64]; for (int i = 0; i < n % {i % 13 + 2}; i++) {{ "
                f"x += p->a * {random.random():.6f} + sin(x) * p->b; switch ((int)x % 5) {{ case 0: x *= 1.5; break; case 1: p = p->n ? p->n : p; break; "
                f"case 3: snprintf(t, sizeof t, \"%f {i}\", x); x += strlen(t); break; default: x -= {i % 7}; }} }} return {'f%d(p, n - 1) + ' % (i - 1) if i else ''}x; }}\n")
    f.write("int main(int c, char **v) { struct s s = {c, 1.5, \"x\", 0}; (void)v; printf(\"%.3f\\n\", f1499(&s, 3)); return 0; }\n")
END
gcc -O2 -c big.c -o o2.o && gcc -O0 -g -fdebug-prefix-map="$PWD"=. -c big.c -o o0.o && gcc -O2 -flto=1 -o linked big.c -lm
cksum < o2.o
cksum < o0.o
./linked
