"""JSON encoded and decoded over and over, as a web service does it."""
import json
import random

draw = random.Random(1)
records = [{"id": i, "name": "name %d" % draw.randrange(10**6), "tags": ["t%d" % draw.randrange(50) for _ in range(8)],
            "body": "x" * draw.randrange(20, 600), "nested": {"a": draw.random(), "b": [draw.randrange(99)] * 10}}
           for i in range(2500)]
length = 0
for step in range(24):
    text = json.dumps(records)
    length += len(text)
    records = json.loads(text)
    draw.shuffle(records)
    for record in records[:500]:
        record["body"] = record["body"] + "y" * step
print(length, records[0]["id"])
