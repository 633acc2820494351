#!/usr/bin/env python3
"""Fuzzes, stresses and explores for long and watches what that takes: soak.py [--time 1h] [--build FOLDER] [--out FOLDER] [--no-kills]

Every few seconds memory, descriptors and processes of all that runs are measured. Memory of a process has to stay flat: in the last third of its life its median is no
more than in the second, but for a tenth and 16 MiB (a fuzzer's corpus grows slowly, to a bound). Between the rounds processes are killed at random moments
(robust.py). In the end no process is left, and nothing new is in the folder for temporary files. What was measured is in OUT/soak.csv. Exit status: 0, 1 something
was found, grew or stayed behind, 2 wrong usage, 3 nothing is built.
"""
import argparse
import csv
import glob
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
INTERVAL = 5  # seconds between two looks
MARK = f"HEAPSTORM_SOAK={os.getpid()}"


def seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no time, such as 90s, 10m or 1h")
    return float(match[1]) * {"m": 60, "h": 3600}.get(match[2], 1)


def look():
    """(pid, name, resident bytes, descriptors) of all processes with the mark."""
    found = []
    for path in glob.glob("/proc/[0-9]*"):
        try:
            with open(f"{path}/environ", "rb") as file:
                if MARK.encode() not in file.read().split(b"\0"):
                    continue
            with open(f"{path}/statm", encoding="utf-8") as file:
                resident = int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
            with open(f"{path}/comm", encoding="utf-8") as file:
                name = file.read().strip()
            if resident > 0:
                found.append((int(path[6:]), name, resident, len(os.listdir(f"{path}/fd"))))
        except (OSError, ValueError):
            pass
    return found


def growth(samples):
    """What is wrong with the life of one process, or None."""
    third = len(samples) // 3
    if third < 12:
        return None  # a minute is too short to tell
    second, last = samples[third: 2 * third], samples[2 * third:]
    # Medians: one program with large blocks is a peak of a moment, a leak lifts all that follows.
    before, after = (statistics.median(s[1] for s in part) for part in (second, last))
    if after > before * 1.1 + (16 << 20):
        return f"memory grew from {int(before) >> 20} to {int(after) >> 20} MiB"
    before, after = (statistics.median(s[2] for s in part) for part in (second, last))
    if after > before + 2:
        return f"descriptors grew from {before:.0f} to {after:.0f}"
    return None


def main():
    parser = argparse.ArgumentParser(prog="soak", description="Fuzzes, stresses and explores for long and watches what that takes.")
    parser.add_argument("--time", type=seconds, default=3600, metavar="TIME", help="such as 30m or 24h (default 1h)")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR", help="the build to take (default build)")
    parser.add_argument("--out", metavar="DIR", help="for figures and failures (default BUILD/soak)")
    parser.add_argument("--no-kills", action="store_true", help="leave out robust.py, which needs a build with planted mistakes")
    options = parser.parse_args()
    heapstorm = os.path.join(os.path.abspath(options.build), "bin", "heapstorm")
    out = os.path.abspath(options.out or os.path.join(options.build, "soak"))
    if not os.access(heapstorm, os.X_OK):
        print(f"heapstorm: nothing is built in {options.build}: make", file=sys.stderr)
        sys.exit(3)
    os.makedirs(out, exist_ok=True)
    temporary = tempfile.mkdtemp(prefix="heapstorm-soak-")
    name, value = MARK.split("=")
    environment = dict(os.environ, **{name: value}, TMPDIR=temporary)
    failures = os.path.join(out, "failures")
    each = max(10, min(options.time / 4, 1800))
    jobs = [["fuzz", "mem_alloc_2.0,mem_alloc", "--seeds", f"{ROOT}/corpus/sequence", "--corpus", f"{out}/corpus", "--budget", 2 * each],
            ["stress", "mem_alloc_2.0", "--time", each],
            ["fuzz", "--threads", "mem_alloc_2.0", "--seeds", f"{ROOT}/corpus/threads", "--corpus", f"{out}/corpus-threads", "--budget", each],
            ["explore", "mem_alloc_2.0", "--budget", each],
            ["stress", "mem_alloc", "--time", each]]
    start, wrong, seed = time.time(), [], 1
    lives, ended = {}, {}
    lanes = [None, None]  # two at a time
    queue = []
    next_kills = start + min(600, options.time / 2)
    figures = open(os.path.join(out, "soak.csv"), "w", newline="", encoding="utf-8")
    table = csv.writer(figures)
    table.writerow(["seconds", "pid", "process", "resident", "descriptors"])

    def check_lives(alive):
        for pid in [pid for pid in lives if pid not in alive]:
            comm, samples = lives.pop(pid)
            told = growth(samples)
            if told:
                wrong.append(f"{comm} ({pid}): {told}")
            ended[comm] = ended.get(comm, 0) + 1

    while True:
        now = time.time() - start
        for i, lane in enumerate(lanes):
            if lane is not None and lane[0].poll() is not None:
                process, words, log = lane
                with open(log, encoding="utf-8", errors="replace") as file:
                    lines = file.read().strip().split("\n")
                print(f"{now:6.0f} s  {' '.join(words[:2]):34} {lines[-1]}", flush=True)
                if process.returncode != 0:
                    wrong.append(f"{' '.join(words)}: status {process.returncode}: {' / '.join(lines[-3:])}")
                lanes[i] = lane = None
            if lane is None and options.time - now > 2:
                queue = queue or list(jobs)
                words = queue.pop(0)
                words = words[:-1] + [f"{min(words[-1], options.time - now):.0f}s"] + ["--seed", str(seed), "--out", failures]
                log = os.path.join(out, f"log-{i}")
                with open(log, "w", encoding="utf-8") as file:
                    lanes[i] = (subprocess.Popen([heapstorm, *words], stdout=file, stderr=subprocess.STDOUT, cwd=out, env=environment,
                                                 stdin=subprocess.DEVNULL), words, log)
                seed += 1
        seen = look()
        for pid, comm, resident, descriptors in seen:
            table.writerow([f"{now:.0f}", pid, comm, resident, descriptors])
            lives.setdefault(pid, (comm, []))[1].append((now, resident, descriptors))
        check_lives({pid for pid, *_ in seen})
        if options.time - now <= 2 and lanes == [None, None]:
            break
        if now > options.time + 300:
            wrong.append("a run did not end in its time")
            break
        if not options.no_kills and start + now >= next_kills and now < options.time:
            next_kills = time.time() + 600
            done = subprocess.run([sys.executable, os.path.join(ROOT, "tests", "soak", "robust.py"), heapstorm, ROOT, os.path.abspath(options.build), "4"],
                                  capture_output=True, text=True)
            print(f"{time.time() - start:6.0f} s  kills                              {done.stdout.strip().split(chr(10))[-1]}", flush=True)
            if done.returncode != 0:
                wrong.append("robust.py: " + " / ".join(line for line in done.stdout.split("\n") if "FAILED" in line))
        time.sleep(INTERVAL)
    figures.close()
    time.sleep(2)
    left = look()
    if left:
        wrong.append(f"processes stay behind: {left}")
    check_lives(set())
    files = os.listdir(temporary)
    if files:
        wrong.append(f"in the folder for temporary files stay behind: {files}")
    shutil.rmtree(temporary, ignore_errors=True)
    print(f"{sum(ended.values())} processes watched, of " + ", ".join(f"{count} {comm}" for comm, count in sorted(ended.items())))
    for text in wrong:
        print(f"FAILED  {text}")
    print("nothing grew, nothing stayed behind, nothing was found" if not wrong else f"{len(wrong)} failures")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
