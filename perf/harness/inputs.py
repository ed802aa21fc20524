"""Inputs of the real programs, generated: the same bytes on every machine, from a fixed seed."""

import os
import random
import shutil
import subprocess


def _write(path, lines):
    if not os.path.exists(path):
        with open(path, "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
    return path


def big_c_file(path):
    """About 6,000 lines of C: structs, loops, switches and calls, so that cc1 allocates as it does for real code."""
    draw = random.Random(1)
    lines = ["typedef unsigned long u64;"]
    for i in range(450):
        lines += [f"struct s{i} {{ int a; u64 b; struct s{i} *next; double d[{draw.randrange(2, 9)}]; }};",
                  f"u64 f{i}(struct s{i} *p, u64 n) {{", "  u64 sum = 0;"]
        lines += [f"  for (struct s{i} *q = p; q; q = q->next) {{",
                  f"    sum += q->b * {draw.randrange(1, 99)} + (u64)q->d[{draw.randrange(2)}];",
                  f"    switch (n % {draw.randrange(5, 12)}) {{"]
        lines += [f"    case {k}: sum ^= n << {draw.randrange(1, 30)}; break;" for k in range(5)]
        call = f"f{draw.randrange(i)}(0, sum)" if i else "n"
        lines += ["    }", f"    if (sum > {draw.randrange(1000, 99999)}UL) sum -= {call};", "  }",
                  f"  return sum + n * {draw.randrange(3, 77)};", "}"]
    return _write(path, lines)


def big_python_file(path):
    """About 12,000 lines of Python for the parser."""
    draw = random.Random(2)
    lines = []
    for i in range(1200):
        lines += [f"def function_{i}(first, second=None, *rest, **named):",
                  f"    table = {{'a{draw.randrange(99)}': [first, second, {draw.random()}], 'b': (1, 2, {i})}}",
                  f"    for index, value in enumerate(rest[:{draw.randrange(9)}]):",
                  f"        if value is not None and index % {draw.randrange(2, 9)} == 1:",
                  "            table[str(index)] = [x * 2 for x in range(value) if x & 1]",
                  "        else:", f"            named.setdefault('k{i}', []).append(lambda y: y + value)",
                  f"    return sorted(table.items(), key=lambda item: (item[0], {i}))[::-1]", "", ""]
    return _write(path, lines)


def sql_file(path):
    """Inserts, indexes, updates, joins and sorts on a database in memory."""
    draw = random.Random(3)
    lines = ["CREATE TABLE t(id INTEGER PRIMARY KEY, k INT, name TEXT, body TEXT);",
             "CREATE TABLE u(k INT, tag TEXT);", "BEGIN;"]
    for i in range(12000):
        body = "x" * draw.randrange(10, 400)
        lines.append(f"INSERT INTO t VALUES({i},{draw.randrange(3000)},'name {draw.randrange(10**9)}','{body}');")
    lines += [f"INSERT INTO u VALUES({draw.randrange(3000)},'tag {i}');" for i in range(6000)]
    lines += ["COMMIT;", "CREATE INDEX tk ON t(k);", "CREATE INDEX tn ON t(name);"]
    for _ in range(8):
        lines += ["SELECT count(*), sum(length(body)) FROM t JOIN u USING(k);",
                  "SELECT name FROM t ORDER BY body, name LIMIT 5;",
                  "SELECT k, group_concat(name) g FROM t GROUP BY k ORDER BY length(g) DESC, k LIMIT 3;",
                  "UPDATE t SET body = body || 'more' WHERE k % 3 = 0;",
                  "WITH RECURSIVE c(x) AS (VALUES(1) UNION ALL SELECT x+1 FROM c WHERE x<60000) "
                  "SELECT sum(length(printf('%d-%d', x, x*7))) FROM c;",
                  "DELETE FROM t WHERE id % 7 = 3;"]
    return _write(path, lines)


def git_repository(folder):
    """A repository of 400 commits over 60 files, made by fast-import. Returns the folder and why there is none."""
    git = shutil.which("git")
    if not git:
        return folder, "git is not installed"
    if os.path.isdir(os.path.join(folder, ".git")):
        return folder, ""
    draw = random.Random(4)
    files = {f"file{i}.txt": [f"line {draw.randrange(10**6)} of file {i}" for _ in range(300)] for i in range(60)}
    stream = []
    for commit in range(400):
        message = f"change {commit}"
        stream += ["commit refs/heads/main", f"committer A U Thor <author@example.com> {1600000000 + commit} +0000",
                   f"data {len(message)}", message]
        for name in draw.sample(sorted(files), 60 if commit == 0 else 8):
            lines = files[name]
            for _ in range(10):
                lines[draw.randrange(len(lines))] = f"changed {draw.randrange(10**6)} in {commit}"
            text = "\n".join(lines) + "\n"
            stream += [f"M 100644 inline {name}", f"data {len(text)}", text]
    subprocess.run([git, "init", "-q", "-b", "main", folder], check=True)
    subprocess.run([git, "-C", folder, "config", "pack.threads", "2"], check=True)
    subprocess.run([git, "-C", folder, "fast-import", "--quiet"], input="\n".join(stream).encode(), check=True)
    return folder, ""
