#!/usr/bin/env python3
"""Finds planted bugs, minimizes each from how it was found and prints the table of docs/minimize.md.

minimize.py [--build DIRECTORY] [--budget SECONDS] [--keep FOLDER] [BUG...]

A bug is the name of a patch; one of threads is named threads/NAME. Without names: all of them. Exit status 1 if one is not found or its
minimized program does not replay with the same verdict, the median is above 6 operations or 2 preemptions, or one takes more than 30 s of
processor time. With --keep the programs stay there.
"""
import argparse
import glob
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import threads  # noqa: E402
from planted import Bug, ROOT  # noqa: E402

SECONDS_MAX = 30


def build(options, bug, *more):
    done = subprocess.run(["sh", os.path.join(HERE, "build.sh"), "--build", str(options.build), *more, bug.path], capture_output=True, text=True,
                          check=False)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip().split("\n")[-1]


def find(options, bug, work):
    """Its runner and the program that was kept, by `heapstorm fuzz`."""
    subprocess.run([options.heapstorm, "fuzz", bug.allocator, "--target", build(options, bug), "--budget", f"{options.budget:g}s", "--seed", "1",
                    "--timeout", "5s", "--out", work / "found"], capture_output=True, check=False)
    return build(options, bug, "--runner"), next(work.glob("found/*/program.heap"), None)


def find_threads(options, bug, work):
    """Likewise, by `heapstorm explore`."""
    patch = pathlib.Path(bug.path)
    runner = threads.build_runner(options.build, options.environment, patch, "sched")
    program = threads.PROGRAMS / f"{threads.read_header(patch)['Program']}.heap"
    _, kept, _ = threads.explore(options.heapstorm, runner, program, options, work)
    return runner, kept


class ThreadsBug:
    """A mistake of threads, whose header has other rules."""

    def __init__(self, path):
        self.path, self.name = path, os.path.basename(path)[: -len(".patch")]
        self.expect = threads.read_header(pathlib.Path(path))["Expect"].split(", ")


def examine(options, bug, work):
    """(the result of `heapstorm minimize` or None, what is wrong or None)"""
    of_threads = isinstance(bug, ThreadsBug)
    runner, program = (find_threads if of_threads else find)(options, bug, work)
    if program is None:
        return None, "not found"
    result, fault = threads.minimize(options.heapstorm, runner, program, work, "sched" if of_threads else "asan")
    if result is None:
        return None, "minimize: " + fault.strip()
    if options.keep:
        (work / "small.heap").rename(options.keep / f"{bug.name}.heap")
    if fault is None and result["verdict"] not in bug.expect:
        fault = "wrong verdict"
    if fault is None and result["processor"] > SECONDS_MAX:
        fault = "slow"
    return result, fault


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--build", type=pathlib.Path, default=os.path.join(ROOT, "build"))
    parser.add_argument("--budget", type=float, default=60, help="seconds in which each has to be found")
    parser.add_argument("--keep", type=pathlib.Path, help="folder for the small programs")
    parser.add_argument("bugs", nargs="*")
    parser.set_defaults(runs=20000, seed=1, strategy="mix")
    options = parser.parse_args()
    options.build = options.build.resolve()
    options.budget = int(options.budget)
    options.environment = threads.read_environment(options.build)
    options.heapstorm = options.environment["HEAPSTORM"][0]
    if options.keep:
        options.keep = options.keep.resolve()
        options.keep.mkdir(parents=True, exist_ok=True)
    names = options.bugs or [os.path.relpath(path, HERE)[:-len(".patch")]
                             for folder in (".", "threads") for path in sorted(glob.glob(os.path.join(HERE, folder, "*.patch")))]
    sizes = []
    faults = 0
    print("| bug | verdict | operations found | minimized | threads | preemptions found | minimized | faults | seconds | of processors |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---:|---:|")
    for name in names:
        bug = (ThreadsBug if name.startswith("threads/") else Bug)(os.path.join(HERE, name + ".patch"))
        with tempfile.TemporaryDirectory(prefix="minimize-") as folder:
            result, fault = examine(options, bug, pathlib.Path(folder))
        faults += fault is not None
        if result is None:
            print(f"| `{bug.name}` | {fault} | | | | | | | | |", flush=True)
            continue
        sizes.append((result["operations_after"], result["preemptions_after"], result["wall"], result["processor"]))
        print(f"| `{bug.name}` | {result['verdict']} | {result['operations_before']} | {result['operations_after']} | {result['threads_after']} | "
              f"{result['preemptions_before']} | {result['preemptions_after']} | {result['faults_after']} | {result['wall']:.1f} | "
              f"{result['processor']:.1f} |" + (f" {fault}" if fault else ""), flush=True)
    if sizes:
        median = [statistics.median(column) for column in zip(*sizes)]
        most = [max(column) for column in zip(*sizes)]
        for what, numbers in (("Median", median), ("Most", most)):
            print(f"\n{what}: {numbers[0]:g} operations, {numbers[1]:g} preemptions, {numbers[2]:.1f} s, {numbers[3]:.1f} s of processors.")
        faults += median[0] > 6 or median[1] > 2
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
