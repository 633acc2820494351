"""Objects of all sizes, threads, subprocesses and modules written in C."""
import hashlib
import json
import os
import re
import subprocess
import sys
import threading
import zlib
from concurrent.futures import ThreadPoolExecutor

words = [f"word{i * 7919 % 1000}" for i in range(5000)]
counts = {}
for word in words:
    counts[word] = counts.get(word, 0) + 1
print(len(counts), sorted(counts.items())[:3])

text = json.dumps([{"index": i, "name": words[i], "list": list(range(i % 20))} for i in range(2000)])
print(len(text), hashlib.sha256(json.dumps(json.loads(text)).encode()).hexdigest())
print(len(re.findall(r'"name": "(\w+)"', text)), zlib.crc32(zlib.compress(text.encode(), 9)))

buffer = bytearray()
while len(buffer) < 3_000_000:
    buffer += bytes(len(buffer) // 2 + 1000)
print(len(buffer))


def work(seed):
    held = []
    for i in range(400):
        held.append(bytes(seed * i % 3000))
        if i % 3 == 0:
            held.pop(seed * i % len(held))
    return sum(map(len, held))


with ThreadPoolExecutor(4) as pool:
    print(list(pool.map(work, range(1, 40))))

handed = []
threads = [threading.Thread(target=lambda n=n: handed.append(b"x" * n)) for n in range(0, 3000, 50)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(sum(map(len, handed)))
del handed[:]

child = os.fork()
if child == 0:
    lists = [[i] * (i % 50) for i in range(2000)]
    os._exit(len(lists) % 256)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
print(subprocess.run([sys.executable, "-c", "print(sum(len(str(i)) for i in range(3000)))"], capture_output=True, text=True).stdout)
