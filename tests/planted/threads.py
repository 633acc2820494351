#!/usr/bin/env python3
"""Explores each planted mistake of threads: threads.py [NAME...] (docs/planted.md).

A patch of tests/planted/threads/ is applied to a copy of alloc/, compiled for the scheduled runner and linked; its program, of
corpus/threads/, is explored until the expected verdict comes. The kept file then has to replay: the same verdict at the same operation. Exit
status: 0, 1 a mistake was missed, got another name or does not replay, 2 wrong usage, 3 something cannot be built.
"""
import argparse
import hashlib
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATCHES = HERE / "threads"
PROGRAMS = ROOT / "corpus" / "threads"
SCENARIOS = ("mixed", "producer-consumer", "all-to-all", "churn", "first-call", "destructors", "fork", "foreign-realloc", "boundaries", "faults")


def die(status, message):
    print(f"planted/threads.py: {message}", file=sys.stderr)
    sys.exit(status)


def read_environment(build):
    """The variables that CMake wrote for build.sh; lists have one word a line."""
    path = build / "tests" / "planted" / "environment"
    if not path.is_file():
        die(2, f"{build} has no planted bugs")
    return {name: value.split("\n") for name, value in re.findall(r"(\w+)='([^']*)'", path.read_text())}


def read_header(patch):
    """The lines `Key: value` before the diff."""
    header = {}
    for line in patch.read_text().splitlines():
        if not line or line.startswith("---"):
            break
        key, _, value = line.partition(":")
        header[key] = value.strip()
    for key in ("Bug", "Allocator", "Expect", "Program"):
        if key not in header:
            die(2, f"{patch.name}: no line {key}:")
    return header


def build_runner(build, environment, patch, variant):
    """The runner of the variant (sched, tsan) with the patched allocator. Not built again from what it was built from before."""
    objects = environment["SCHED_OBJECTS" if variant == "sched" else "STRESS_TSAN_OBJECTS"]
    other = build / "bundles" / f"mem_alloc.{variant}.o"
    libraries = environment["SCHED_LIBRARIES" if variant == "sched" else "STRESS_TSAN_LIBRARIES"]
    digest = hashlib.sha256()
    inputs = sorted((ROOT / "alloc").rglob("*.[ch]")) + [patch, ROOT / "cmake" / "bundle_allocator.sh"]
    inputs += sorted((ROOT / "harness" / "bundle").iterdir())
    inputs += [pathlib.Path(word) for word in objects + [str(other)] + libraries if word.startswith("/")]
    for path in inputs:
        digest.update(path.read_bytes())
    runner = build / "planted" / f"{patch.stem}-{variant}.{digest.hexdigest()[:16]}"
    if runner.is_file():
        return runner
    runner.parent.mkdir(exist_ok=True)
    compiler = environment["CC"][0]
    with tempfile.TemporaryDirectory() as work:
        tree = pathlib.Path(work)
        shutil.copytree(ROOT / "alloc", tree / "alloc")
        commands = (
            ["patch", "-d", work, "-p1", "-F0", "-f", "-s", "--no-backup-if-mismatch", "-i", patch],
            ["sh", ROOT / "cmake" / "bundle_allocator.sh", "--name", "mem_alloc_2_0", "--variant", variant, "--cc", compiler,
             "--out", tree / "bundle.o", "--keep", "my_*_2_0", "--include", "alloc", "--cflags", "-w", "--",
             *environment["SOURCES_mem_alloc_2_0"]],
            [compiler, "-pthread", *(["-fsanitize=thread"] if variant == "tsan" else []), "-o", tree / "runner", *objects,
             tree / "bundle.o", other, *libraries],
        )
        for command in commands:
            done = subprocess.run(command, cwd=work, capture_output=True, text=True, check=False)
            if done.returncode != 0:
                print(done.stdout + done.stderr, file=sys.stderr)
                die(3, f"{patch.stem}: cannot be built")
        for old in runner.parent.glob(f"{patch.stem}-{variant}.*"):
            old.unlink()
        shutil.copy(tree / "runner", f"{runner}.{os.getpid()}")
        os.rename(f"{runner}.{os.getpid()}", runner)
    return runner


def explore(heapstorm, runner, program, arguments, work):
    """Returns the JSON object of the result, the path of the kept file or None, and the output."""
    result = work / "result.json"
    done = subprocess.run(
        [heapstorm, "explore", "--runner", runner, "--allocator", "mem_alloc_2.0", "--runs", str(arguments.runs), "--budget",
         f"{arguments.budget}s", "--seed", str(arguments.seed), "--strategy", arguments.strategy, "--out", work / "kept", "--json", result, program],
        capture_output=True, text=True, check=False)
    if done.returncode not in (0, 1):
        return None, None, done.stdout + done.stderr
    kept = re.search(r"^  kept in: +(.*)$", done.stdout, re.M)
    record = json.loads(result.read_text())
    record = record["results"][0] if isinstance(record, dict) and "results" in record else record[0]
    return record, pathlib.Path(kept.group(1)) / "program.heap" if kept else None, done.stdout + done.stderr


def minimize(heapstorm, runner, program, work, variant="sched"):
    """
    The JSON object of `heapstorm minimize` on the kept program as it was found, with `wall` and `processor` (seconds, all processes together), and
    what went wrong or None. The small file has to replay.
    """
    full = program.parent / "program-full.heap"
    program = full if full.exists() else program
    small, figures = work / "small.heap", work / "small.json"
    environment = {**os.environ, "HEAPSTORM_RUNNER": str(runner)}
    start, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([heapstorm, "minimize", program, "-o", small, "--json", figures, "--variant", variant], capture_output=True, text=True, check=False,
                          env=environment)
    if done.returncode != 0:
        return None, done.stdout + done.stderr
    result = json.loads(figures.read_text())
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    result["wall"] = time.monotonic() - start
    result["processor"] = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    again = subprocess.run([heapstorm, "replay", "--variant", variant, "--expect", "--repeat", "20" if variant == "sched" else "2", "--timeout", "10s", small], capture_output=True, text=True, check=False,
                           env=environment)
    return result, None if again.returncode == 0 else "does not replay: " + again.stdout


def free_runner(heapstorm, runner, arguments, work):
    """
    What ThreadSanitizer and the oracles see in threads that run freely: each scenario of `heapstorm stress` has an equal share of the time, until
    one of them finds something. What stands still at the end of its share is waited for (--timeout).
    """
    result = work / "free.json"
    seconds = 0
    for scenario in SCENARIOS:
        done = subprocess.run(
            [heapstorm, "stress", "mem_alloc_2.0", "--process", runner, "--variant", "tsan", "--scenario", scenario, "--seed", str(arguments.seed),
             "--time", f"{arguments.tsan / len(SCENARIOS):g}s", "--timeout", "12s", "--out", work / "free", "--json", result],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
        if done.returncode not in (0, 1):
            die(3, f"heapstorm stress: {done.stdout}{done.stderr}")
        record = json.loads(result.read_text())[0]
        seconds += record["seconds"]
        if record["verdict"] != "clean":
            return f"{record['verdict']} ({scenario}), {seconds:.1f} s"
    return "nothing"


def main():
    parser = argparse.ArgumentParser(description="Explores the planted mistakes of threads.")
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build")
    parser.add_argument("--runs", type=int, default=20000, help="schedules of a mistake at most")
    parser.add_argument("--budget", type=int, default=60, help="seconds for a mistake at most")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--strategy", default="mix", help="of heapstorm explore (default: mix)")
    parser.add_argument("--tsan", type=int, default=0, metavar="SECONDS",
                        help="also let threads run freely under ThreadSanitizer for so long: all scenarios of heapstorm stress")
    parser.add_argument("--minimize", action="store_true", help="minimize what was found: operations, preemptions, seconds")
    parser.add_argument("--keep", type=pathlib.Path, help="keep the minimized programs in this folder")
    parser.add_argument("names", nargs="*")
    arguments = parser.parse_args()
    build = arguments.build.resolve()
    environment = read_environment(build)
    names = arguments.names or sorted(path.stem for path in PATCHES.glob("*.patch"))
    heapstorm = environment["HEAPSTORM"][0]
    failures = []
    sizes = []

    for name in names:
        if not (PATCHES / f"{name}.patch").is_file():
            die(2, f"no planted mistake of threads is called '{name}'")
    print("| bug | verdict | schedules | seconds | preemptions |" +
          (" operations | minimized | threads | preemptions | seconds |" if arguments.minimize else "") + (" freely |" if arguments.tsan else ""))
    print("|---|---|---:|---:|---:|" + ("---:|---:|---:|---:|---:|" if arguments.minimize else "") + ("---|" if arguments.tsan else ""))
    for name in names:
        patch = PATCHES / f"{name}.patch"
        header = read_header(patch)
        runner = build_runner(build, environment, patch, "sched")
        with tempfile.TemporaryDirectory() as folder:
            work = pathlib.Path(folder)
            record, kept, output = explore(heapstorm, runner, PROGRAMS / f"{header['Program']}.heap", arguments, work)
            if record is None:
                failures.append((name, "cannot be explored", output))
                continue
            verdict = record["verdict"]
            preemptions = re.search(r"schedule: +(\d+) preemption", output)
            if verdict not in header["Expect"].split(", "):
                failures.append((name, f"{verdict}, not {header['Expect']}", output))
            elif kept is None or "replayed:" not in output:
                failures.append((name, "the kept file does not replay", output))
            # Those before the one that failed are counted.
            schedules = record["schedules"] + (verdict != "clean")
            row = (f"| `{name}` | {verdict} | {schedules:.0f} | {record['seconds']:.1f} | "
                   f"{preemptions.group(1) if preemptions else '-'} |")
            if arguments.minimize and kept is not None:
                result, fault = minimize(heapstorm, runner, kept, work)
                if fault is None and result["verdict"] != verdict:
                    fault = f"minimized it is {result['verdict']}"
                if fault is not None:
                    failures.append((name, "minimize", fault))
                if result is not None:
                    sizes.append((result["operations_after"], result["preemptions_after"], result["wall"]))
                    row += (f" {result['operations_before']} | {result['operations_after']} | {result['threads_after']} | "
                            f"{result['preemptions_after']} | {result['wall']:.1f} |")
                    if arguments.keep:
                        arguments.keep.mkdir(exist_ok=True)
                        shutil.copy(work / "small.heap", arguments.keep / f"{name}.heap")
            if arguments.tsan:
                row += f" {free_runner(heapstorm, build_runner(build, environment, patch, 'tsan'), arguments, work)} |"
        print(row, flush=True)
    if sizes:
        median = [statistics.median(column) for column in zip(*sizes)]
        print(f"\nmedian {median[0]:g} operations, {median[1]:g} preemptions, {median[2]:.1f} s; most "
              f"{max(size[0] for size in sizes)}, {max(size[1] for size in sizes)}, {max(size[2] for size in sizes):.1f} s")
        if median[0] > 6 or median[1] > 2 or max(size[2] for size in sizes) > 30:
            failures.append(("all", "too large or too slow", ""))
    for name, what, output in failures:
        print(f"\n{name}: {what}\n{output}", file=sys.stderr)
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    main()
