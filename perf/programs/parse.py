"""A big Python file parsed to a syntax tree, walked, and compiled to bytecode."""
import ast
import sys

with open(sys.argv[1], encoding="ascii") as file:
    source = file.read()
nodes = 0
for _ in range(2):
    tree = ast.parse(source)
    nodes += sum(1 for _ in ast.walk(tree))
    code = compile(tree, "big.py", "exec")
print(nodes, len(code.co_code))
