#!/usr/bin/env python3
"""Finds planted bugs, minimizes each and prints the table of docs/failures.md.

minimize.py [--build DIRECTORY] [--budget SECONDS] [--keep FOLDER] [BUG...]

Exit status 1 if a minimized program is not of the right verdict, the median is above 6 operations, or one takes more than 30 s. With
--keep the programs stay there.
"""
import argparse
import glob
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
from planted import Bug, ROOT  # noqa: E402


def run(command, environment=None):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
    return done.returncode, done.stdout


def build(options, bug, *more):
    status, out = run(["sh", os.path.join(HERE, "build.sh"), "--build", options.build, *more, bug.path])
    if status != 0:
        raise RuntimeError(out.strip())
    return out.strip().split("\n")[-1]


def examine(options, bug, folder):
    heapstorm = os.path.join(options.build, "bin", "heapstorm")
    target, runner = build(options, bug), build(options, bug, "--runner")
    status, out = run([heapstorm, "fuzz", bug.allocator, "--target", target, "--budget", f"{options.budget:g}s", "--seed", "1",
                       "--timeout", "5s", "--out", os.path.join(folder, "found")])
    programs = glob.glob(os.path.join(folder, "found", "*", "program.heap"))
    if status != 1 or len(programs) != 1:
        return {"fault": "not found"}
    environment = dict(os.environ, HEAPSTORM_RUNNER=runner)
    small = os.path.join(options.keep or folder, bug.name + ".heap")
    figures = os.path.join(folder, "small.json")
    start = time.monotonic()
    status, out = run([heapstorm, "minimize", programs[0], "-o", small, "--json", figures, "--time", "60s", "--timeout", "5s"], environment)
    seconds = time.monotonic() - start
    if status != 0:
        return {"fault": "minimize: " + out.strip()}
    with open(figures, encoding="utf-8") as file:
        result = json.load(file)
    result["seconds"] = seconds
    status, out = run([heapstorm, "replay", "--expect", small], environment)
    if status != 0:
        result["fault"] = "does not replay"
    elif result["verdict"] not in bug.expect:
        result["fault"] = "wrong verdict"
    elif seconds > 30:
        result["fault"] = "slow"
    return result


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default=os.path.join(ROOT, "build"))
    parser.add_argument("--budget", type=float, default=60)
    parser.add_argument("--keep")
    parser.add_argument("bugs", nargs="*")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    if options.keep:
        options.keep = os.path.abspath(options.keep)
        os.makedirs(options.keep, exist_ok=True)
    paths = [os.path.join(HERE, name + ".patch") for name in options.bugs] or sorted(glob.glob(os.path.join(HERE, "*.patch")))
    bugs = [Bug(path) for path in paths]
    sizes = []
    faults = 0
    print("| bug | verdict | operations found | minimized | threads | faults | seconds |")
    print("|---|---|---:|---:|---:|---:|---:|")
    for bug in bugs:
        with tempfile.TemporaryDirectory(prefix="minimize-") as folder:
            result = examine(options, bug, folder)
        fault = result.get("fault")
        faults += fault is not None
        if "operations_after" in result:
            sizes.append(result["operations_after"])
            print(f"| `{bug.name}` | {result['verdict']} | {result['operations_before']} | {result['operations_after']} | "
                  f"{result['threads_after']} | {result['faults_after']} | {result['seconds']:.1f} |"
                  + (f" {fault}" if fault else ""), flush=True)
        else:
            print(f"| `{bug.name}` | {fault} | | | | | |", flush=True)
    median = statistics.median(sizes) if sizes else 0
    print(f"\nmedian {median:g} operations, largest {max(sizes, default=0)}")
    return 1 if faults or median > 6 else 0


if __name__ == "__main__":
    sys.exit(main())
