"""Dicts, lists, sets, strings and objects that are made and dropped at random."""
import random

draw = random.Random(2)


class Item:
    def __init__(self, key):
        self.key = key
        self.values = [key] * draw.randrange(1, 40)
        self.text = "item %d " % key * draw.randrange(1, 12)


live = {}
total = 0
for i in range(120000):
    live[draw.randrange(20000)] = Item(i)
    if i % 3 == 0:
        old = live.pop(draw.randrange(20000), None)
        if old is not None:
            total += len(old.text) + len(set(old.values))
    if i % 2000 == 0:
        total += sum(len(item.values) for item in live.values())
        text = ",".join(item.text for item in live.values())
        total += len(text.split(","))
print(total, len(live))
