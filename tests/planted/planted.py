"""Planted bugs: builds a fuzz target for each, lets it search from nothing, and looks at the verdict. See docs/planted.md."""
import argparse
import concurrent.futures
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
ALLOCATORS = ("mem_alloc", "mem_alloc_2.0")
DICTIONARY = os.path.join(ROOT, "fuzz", "heapstorm.dict")


class Bug:
    """A patch with its header: Bug, Allocator, Expect."""

    def __init__(self, path):
        self.path = path
        self.name = os.path.basename(path)[: -len(".patch")]
        with open(path, encoding="utf-8") as file:
            head = file.read().split("\n--- ", 1)[0]
        fields = dict(re.findall(r"^(Bug|Allocator|Expect|Why): *(.*\S)", head, re.M))
        for field in ("Bug", "Allocator", "Expect"):
            if field not in fields:
                sys.exit(f"{path}: the header has no line `{field}:'")
        self.text = fields["Bug"]
        self.allocator = fields["Allocator"]
        self.expect = re.split(r", *", fields["Expect"])
        if len(self.expect) > 1 and "Why" not in fields:
            sys.exit(f"{path}: more than one verdict is expected without a line `Why:'")
        if self.allocator not in ALLOCATORS:
            sys.exit(f"{path}: no allocator is called '{self.allocator}'")


def seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no time, such as 20s or 2m")
    return float(match[1]) * (60 if match[2] == "m" else 1)


def numbers(text):
    return [int(number) for number in re.split(r"[ ,]+", text)]


def read_environment(build):
    path = os.path.join(build, "tests", "planted", "environment")
    try:
        with open(path, encoding="utf-8") as file:
            return dict(re.findall(r"^(\w+)='(.*?)'$", file.read(), re.M | re.S))
    except OSError as error:
        sys.exit(f"{path}: {error.strerror}: build first")


def build_target(options, what, mutator="ours"):
    command = ["sh", os.path.join(HERE, "build.sh"), "--build", options.build, "--mutator", mutator, what]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip()


def plain_libfuzzer(target, folder):
    """A script in front of a target that gives it the dictionary: the command passes no options of libFuzzer on."""
    path = os.path.join(folder, "target")
    with open(path, "w", encoding="utf-8") as file:
        file.write(f'#!/bin/sh\nexec "{target}" "-dict={DICTIONARY}" "$@"\n')
    os.chmod(path, 0o755)
    return path


def fuzz(options, allocator, target, folder, *arguments):
    """One run of `heapstorm fuzz`; its result as the JSON has it."""
    path = os.path.join(folder, "result.json")
    command = [options.heapstorm, "fuzz", allocator, "--target", target, "--json", path, "--timeout", f"{options.timeout:g}s",
               "--out", os.path.join(folder, "failures"), *arguments]
    if os.path.exists(path):
        os.unlink(path)
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder)
    if not os.path.exists(path):
        raise RuntimeError(f"heapstorm fuzz ended with status {done.returncode}:\n{done.stdout.strip()}")
    with open(path, encoding="utf-8") as file:
        result = json.load(file)
    if (done.returncode == 1) != (result["verdict"] != "clean"):
        raise RuntimeError(f"the verdict is {result['verdict']}, but the exit status {done.returncode}")
    return result


def search(options, allocator, target, folder, seed, budget):
    """From an empty corpus."""
    return fuzz(options, allocator, target, folder, "--budget", f"{budget:g}s", "--seed", str(seed))


def replay(options, allocator, target, folder, result):
    """The input that was kept, alone in the same target."""
    corpus = os.path.join(folder, "replayed")
    os.makedirs(corpus)
    shutil.copy(os.path.join(os.path.dirname(os.path.join(folder, result["program"])), "input"), corpus)
    return fuzz(options, allocator, target, folder, "--corpus", corpus, "--runs", "1")


def keep(options, folder, name):
    """What went wrong is left for whoever looks at it."""
    place = os.path.join(options.build, "planted", "kept", name)
    shutil.rmtree(place, ignore_errors=True)
    shutil.copytree(folder, place)
    return place


# ---- run ----


def examine(options, bug, seed):
    """Returns (what is wrong or None, result)."""
    target = build_target(options, bug.path)
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        result = search(options, bug.allocator, target, folder, seed, options.budget)
        verdict = result["verdict"]
        if verdict == "clean":
            return "missed", result
        if verdict not in bug.expect:
            return f"misnamed: {keep(options, folder, bug.name)}", result
        again = replay(options, bug.allocator, target, folder, result)
        if again["verdict"] != verdict:
            return f"replays as {again['verdict']}: {keep(options, folder, bug.name)}", result
        if (again.get("operation"), again.get("text")) != (result.get("operation"), result.get("text")):
            return f"replays at another operation: {keep(options, folder, bug.name)}", result
    return None, result


def control(options, allocator):
    target = build_target(options, "none:" + allocator)
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        result = search(options, allocator, target, folder, options.seeds[0], options.control)
        if result["verdict"] != "clean":
            return f"{result['message']}: {keep(options, folder, 'control-' + allocator)}", result
        never = [name for name in ("overlap", "corruption", "realloc-lost", "not-zeroed", "misaligned", "undersized", "contract",
                                   "touched-live", "invariant", "lost-memory", "uncoalesced", "unreclaimed")
                 if result["checks"][name] == 0]
        if never:
            return "never ran: " + ", ".join(never), result
    return None, result


def parallel(options, jobs):
    """Runs the (key, function, arguments...) and yields (key, result or error) as they end."""
    with concurrent.futures.ThreadPoolExecutor(options.jobs) as pool:
        futures = {pool.submit(function, *arguments): key for key, function, *arguments in jobs}
        try:
            for future in concurrent.futures.as_completed(futures):
                try:
                    yield futures[future], future.result(), None
                except (RuntimeError, OSError) as error:
                    yield futures[future], None, str(error)
        except KeyboardInterrupt:
            pool.shutdown(cancel_futures=True)
            raise


def run(options, bugs):
    jobs = [((bug.name, seed), examine, options, bug, seed) for seed in options.seeds for bug in bugs]
    if options.control > 0:
        jobs += [(("unpatched " + allocator, options.seeds[0]), control, options, allocator) for allocator in ALLOCATORS
                 if any(bug.allocator == allocator for bug in bugs)]
    expected = {bug.name: " or ".join(bug.expect) for bug in bugs}
    width = max(len(key[0]) for key, *_ in jobs)
    wrong = 0
    found = []
    start = time.monotonic()
    print(f"{'bug':{width}}  {'seed':>4}  {'expected':26}  {'found':13} {'seconds':>7} {'programs':>9}")
    for (name, seed), outcome, error in parallel(options, jobs):
        fault, result = outcome if outcome else (error, {})
        verdict = result.get("verdict", "-")
        print(f"{name:{width}}  {seed:4}  {expected.get(name, 'clean'):26}  {verdict:13} {result.get('seconds', 0):7.1f} "
              f"{result.get('programs', 0):9}" + (f"  {fault}" if fault else ""), flush=True)
        wrong += fault is not None
        if name in expected:
            found.append({"bug": name, "seed": seed, "verdict": verdict, "fault": fault, "seconds": result.get("seconds"),
                          "programs": result.get("programs"), "message": result.get("message")})
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(sorted(found, key=lambda entry: (entry["bug"], entry["seed"])), file, indent=1)
    right = sum(entry["fault"] is None for entry in found)
    print(f"{right} of {len(found)} found with the right verdict, {time.monotonic() - start:.0f} s")
    return 1 if wrong else 0


# ---- compare ----

MUTATORS = ("ours", "none")


def time_to(options, bug, mutator, seed):
    target = build_target(options, bug.path, mutator)
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        if mutator == "none":
            target = plain_libfuzzer(target, folder)
        return search(options, bug.allocator, target, folder, seed, options.budget)


def cover(options, allocator, mutator, seed):
    target = build_target(options, "none:" + allocator, mutator)
    with tempfile.TemporaryDirectory(prefix="planted-") as folder:
        if mutator == "none":
            target = plain_libfuzzer(target, folder)
        return search(options, allocator, target, folder, seed, options.budget)


def cell(times, budget):
    """The median time; those that were not found count as longer than any."""
    median = statistics.median_low(sorted(times))
    missed = sum(time == float("inf") for time in times)
    text = f"> {budget:g}" if median == float("inf") else f"{median:.1f}"
    return text + (f" ({missed} of {len(times)} missed)" if missed else "")


def compare(options, bugs):
    jobs = [((bug.name, mutator, seed), time_to, options, bug, mutator, seed)
            for seed in options.seeds for bug in bugs for mutator in MUTATORS]
    jobs += [((allocator, mutator, options.seeds[0]), cover, options, allocator, mutator, options.seeds[0])
             for allocator in ALLOCATORS for mutator in MUTATORS]
    times, programs, coverage = {}, {}, {}
    for (name, mutator, seed), result, error in parallel(options, jobs):
        if error:
            sys.exit(f"{name}: {error}")
        if name in ALLOCATORS:
            coverage[name, mutator] = result
            continue
        found = result["verdict"] != "clean"
        times.setdefault((name, mutator), []).append(result["seconds"] if found else float("inf"))
        programs.setdefault((name, mutator), []).append(result["programs"] if found else float("inf"))
        print(f"{name} {mutator} {seed}: {result['verdict']} {result['seconds']:.1f} s", file=sys.stderr, flush=True)
    lines = ["| bug | heapstorm's mutator, s | programs | libFuzzer's own, s | programs |", "|---|---:|---:|---:|---:|"]
    for bug in bugs:
        row = [bug.name]
        for mutator in MUTATORS:
            row.append(cell(times[bug.name, mutator], options.budget))
            median = statistics.median_low(sorted(programs[bug.name, mutator]))
            row.append("" if median == float("inf") else str(median))
        lines.append("| " + " | ".join(row) + " |")
    counts = {mutator: sum(statistics.median_low(sorted(times[bug.name, mutator])) != float("inf") for bug in bugs)
              for mutator in MUTATORS}
    lines.append(f"| found within {options.budget:g} s (median of {len(options.seeds)}) | {counts['ours']} of {len(bugs)} | "
                 f"| {counts['none']} of {len(bugs)} | |")
    lines.append("")
    columns = [(allocator, mutator) for allocator in ALLOCATORS for mutator in MUTATORS]
    lines.append("| | " + " | ".join(f"{a}, {'ours' if m == 'ours' else 'own'}" for a, m in columns) + " |")
    lines.append("|---|" + "---:|" * len(columns))
    lines.append("| edges covered | " + " | ".join(str(coverage[column]["coverage"]) for column in columns) + " |")
    lines.append("| programs | " + " | ".join(str(coverage[column]["programs"]) for column in columns) + " |")
    lines.append("| operations a program | " + " | ".join(
        f"{coverage[column]['operations'] / max(1, coverage[column]['programs']):.1f}" for column in columns) + " |")
    for kind in coverage[columns[0]]["operations_by_kind"]:
        lines.append(f"| {kind} | " + " | ".join(
            f"{100 * coverage[column]['operations_by_kind'][kind] / max(1, coverage[column]['operations']):.2f} %"
            for column in columns) + " |")
    text = "\n".join(lines)
    print(text)
    if options.out:
        with open(options.out, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    return 0


def main():
    parser = argparse.ArgumentParser(prog="planted")
    verbs = parser.add_subparsers(dest="verb", required=True)
    run_parser = verbs.add_parser("run", prog="run.sh", description="Looks for planted bugs from an empty corpus. Exit status: 0 each "
                                  "was found with the right verdict, 1 not so.")
    compare_parser = verbs.add_parser("compare", prog="compare.sh", description="Time to each planted bug with the mutator of "
                                      "programs and with libFuzzer's own, as tables of Markdown.")
    for verb, budget in ((run_parser, "60s"), (compare_parser, "20s")):
        verb.add_argument("names", nargs="*", metavar="BUG", help="names of patches (default: all)")
        verb.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR", help="the build to take (default: build)")
        verb.add_argument("--budget", type=seconds, default=seconds(budget), metavar="TIME",
                          help=f"for each search (default {budget})")
        verb.add_argument("--seeds", type=numbers, default=[1], metavar="LIST", help="each bug is searched with each (default 1)")
        verb.add_argument("--jobs", type=int, default=2, metavar="N", help="searches at a time (default 2)")
        verb.add_argument("--timeout", type=seconds, default=5, metavar="TIME", help="without progress it is stuck (default 5s)")
    run_parser.add_argument("--control", type=seconds, default=0, metavar="TIME",
                            help="the allocators without a patch have to stay clean for this time")
    run_parser.add_argument("--json", metavar="FILE", help="write the results")
    compare_parser.add_argument("--out", metavar="FILE", help="write the tables")
    options = parser.parse_args()
    options.build = os.path.abspath(options.build)
    options.heapstorm = read_environment(options.build)["HEAPSTORM"]
    options.json = getattr(options, "json", None)
    paths = {file[: -len(".patch")]: os.path.join(HERE, file) for file in sorted(os.listdir(HERE)) if file.endswith(".patch")}
    unknown = [name for name in options.names if name not in paths]
    if unknown:
        parser.error(f"no patch is called '{unknown[0]}'")
    bugs = [Bug(path) for name, path in paths.items() if not options.names or name in options.names]
    sys.exit(run(options, bugs) if options.verb == "run" else compare(options, bugs))


if __name__ == "__main__":
    main()
