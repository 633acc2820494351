#!/usr/bin/env python3
"""A night of everything: nightly.py [--budget 10m] [--shard I/N] [--only STEP,...] [--state FOLDER] [--build FOLDER]

Fuzz targets under each sanitizer, threads at full speed under ThreadSanitizer, schedules, planted mistakes, packaged allocators. What is kept from night to
night lies in the state folder: the corpora, merged; history.jsonl, a line a night; summary.md, a page with the night and the trends; failures/.
Exit status: 0 nothing found in the allocators of heapstorm and every planted mistake found, 1 not so, 2 wrong usage, 3 the machine lacks something.
"""
import argparse
import datetime
import glob
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
ALLOCATORS = ("mem_alloc_2.0", "mem_alloc")
PACKAGED = ("libjemalloc.so.2", "libmimalloc.so.2", "libtcmalloc_minimal.so.4", "libtbbmalloc_proxy.so.2")
# Targets that fuzz/build.sh makes for the sanitizers that the targets of the tree are not built with, and the weight of each.
OTHER_SANITIZERS = (("undefined", "fuzz_sequence"), ("thread", "fuzz_sequence"), ("memory", "fuzz_formats"), ("undefined", "fuzz_threads"))
FLAGS = "-O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link"
SECONDS_PLANTED = 20  # for one planted mistake
STEPS = {"fuzz": 0.35, "sanitizers": 0.15, "stress": 0.15, "explore": 0.15, "planted": 0.1, "packaged": 0.1}


def seconds(text):
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(s|m|h)?", text)
    if not match:
        raise argparse.ArgumentTypeError(f"'{text}' is no time, such as 90s, 10m or 8h")
    return float(match[1]) * {"m": 60, "h": 3600}.get(match[2], 1)


def shard(text):
    match = re.fullmatch(r"(\d+)/(\d+)", text)
    if not match or int(match[1]) >= int(match[2]):
        raise argparse.ArgumentTypeError(f"'{text}': expected I/N, such as 0/4")
    return int(match[1]), int(match[2])


class Night:
    def __init__(self, options):
        self.options = options
        self.state = os.path.abspath(options.state)
        self.build = os.path.abspath(options.build)
        self.heapstorm = os.path.join(self.build, "bin", "heapstorm")
        self.work = os.path.join(self.state, "work")
        self.rows = []  # of the page: step, what, figures, verdict
        self.figures = {"executions": 0, "coverage": {}, "rounds": 0, "schedules": 0}
        self.bugs = []
        self.missed = []
        self.detection = {}
        self.foreign = {}
        shutil.rmtree(self.work, ignore_errors=True)
        os.makedirs(self.work)
        try:
            with open(os.path.join(self.state, "history.jsonl"), encoding="utf-8") as file:
                self.history = [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            self.history = []

    def row(self, step, what, figures, verdict):
        self.rows.append((step, what, figures, verdict))
        print(f"{step:10} {what:36} {figures:52} {verdict}", flush=True)

    def command(self, words, log, limit, environment=None):
        path = os.path.join(self.work, log)
        with open(path, "w", encoding="utf-8") as file:
            try:
                done = subprocess.run(words, stdout=file, stderr=subprocess.STDOUT, cwd=self.work, timeout=limit, env=environment,
                                      stdin=subprocess.DEVNULL)
                status = done.returncode
            except subprocess.TimeoutExpired:
                status = 124
        with open(path, encoding="utf-8", errors="replace") as file:
            return status, file.read()

    def verb(self, name, *words, budget):
        """A verb of heapstorm: its result, with the exit status."""
        path = os.path.join(self.work, "result.json")
        if os.path.exists(path):
            os.unlink(path)
        status, text = self.command([self.heapstorm, name, *words, "--json", path, "--out", os.path.join(self.state, "failures")],
                                    f"{name}.log", budget * 2 + 300)
        if status not in (0, 1) or not os.path.exists(path):
            raise RuntimeError(f"heapstorm {name} {' '.join(words)} ended with status {status}:\n{text[-2000:]}")
        with open(path, encoding="utf-8") as file:
            return json.load(file)

    def found(self, where, result):
        if result["verdict"] != "clean":
            self.bugs.append(f"{result['verdict']} on {result.get('allocator', where)} ({where}): {result.get('folder', '')}")

    # ---- Corpora ----

    def corpus(self, name):
        folder = os.path.join(self.state, "corpus", name)
        os.makedirs(folder, exist_ok=True)
        return folder

    def merge(self, name, target, environment):
        """Keeps of a corpus what adds coverage. The old one stays until the new one is there."""
        folder, fresh = self.corpus(name), os.path.join(self.work, "merged")
        before = len(os.listdir(folder))
        shutil.rmtree(fresh, ignore_errors=True)
        os.makedirs(fresh)
        status, _ = self.command([target, "-merge=1", "-max_len=4096", f"-artifact_prefix={self.work}/", fresh, folder], "merge.log", 900, environment)
        if status == 0 and os.listdir(fresh):
            old = folder + ".old"
            shutil.rmtree(old, ignore_errors=True)
            os.rename(folder, old)
            shutil.move(fresh, folder)
            shutil.rmtree(old)
        return f"corpus {before} to {len(os.listdir(folder))}"

    # ---- Steps ----

    def fuzz(self, budget):
        jobs = [("fuzz_sequence", ",".join(ALLOCATORS), [], "corpus/sequence"),
                ("fuzz_threads", "mem_alloc_2.0", ["--threads"], "corpus/threads"),
                ("fuzz_threads", "mem_alloc", ["--threads"], "corpus/threads")]
        each = budget / (len(jobs) + 1)
        for target, allocator, words, seeds in jobs:
            name = target if "," in allocator else f"{target}-{allocator}"
            result = self.verb("fuzz", allocator, *words, "--budget", f"{each:.0f}s", "--corpus", self.corpus(name), "--seeds",
                               os.path.join(ROOT, seeds), "--seed", str(self.seed()), budget=each)
            merged = self.merge(name, os.path.join(self.build, "bin", target), dict(os.environ, HEAPSTORM_ALLOCATORS=allocator))
            self.figures["executions"] += result["programs"]
            self.figures["coverage"][name] = result["coverage"]
            self.found(target, result)
            self.row("fuzz", f"{name}, address+undefined", f"{result['programs']} programs, {result['coverage']:.0f} edges, {merged}", result["verdict"])
        self.bare("fuzz", os.path.join(self.build, "bin", "fuzz_formats"), "fuzz_formats", "address+undefined", each)

    def bare(self, step, target, name, sanitizer, budget):
        """A target by itself; what it crashes on is kept."""
        kept = os.path.join(self.state, "failures", f"{name}-{sanitizer}-")
        os.makedirs(os.path.dirname(kept), exist_ok=True)
        words = [target, f"-max_total_time={max(1, budget):.0f}", "-max_len=4096", "-print_final_stats=1", "-rss_limit_mb=8192",
                 f"-seed={self.seed()}", f"-artifact_prefix={kept}", self.corpus(name)]
        dictionary = os.path.join(ROOT, "fuzz", "heapstorm.dict")
        if name == "fuzz_formats":
            words.insert(1, f"-dict={dictionary}")
        status, text = self.command(words, f"{name}.log", budget * 2 + 300)
        runs = re.findall(r"stat::number_of_executed_units: *(\d+)", text)
        if not runs and status == 0:
            raise RuntimeError(f"{target} did not run:\n{text[-2000:]}")
        coverage = re.findall(r" cov: (\d+)", text)
        self.figures["executions"] += int(runs[-1]) if runs else 0
        said = re.findall(r"^verdict: (\S+)", text, re.M)
        verdict = "clean" if status == 0 else said[-1] if said else "crash"
        if verdict != "clean":
            self.bugs.append(f"{verdict} in {name} under {sanitizer}: {kept}*")
        if sanitizer == "address+undefined":
            self.figures["coverage"][name] = int(coverage[-1]) if coverage else 0
        self.row(step, f"{name}, {sanitizer}", f"{runs[-1] if runs else 0} programs, {coverage[-1] if coverage else '-'} edges", verdict)

    def sanitizers(self, budget):
        clang = subprocess.run(["sh", os.path.join(ROOT, "cmake", "find_clang.sh")], capture_output=True, text=True).stdout.split("\n")[0]
        jobs = [job for i, job in enumerate(OTHER_SANITIZERS) if i % self.options.shard[1] == self.options.shard[0]] or OTHER_SANITIZERS[:1]
        for sanitizer, target in jobs:
            out = os.path.join(self.state, "built", f"{sanitizer}-{target}")
            os.makedirs(out, exist_ok=True)
            flags = f"{FLAGS} -fsanitize={sanitizer}" + (" -fno-sanitize-recover=undefined" if sanitizer == "undefined" else "")
            environment = dict(os.environ, CC=clang, CXX=re.sub(r"clang(-\d+)?$", r"clang++\1", clang), CFLAGS=flags, CXXFLAGS=flags, SANITIZER=sanitizer,
                               FUZZING_ENGINE="libfuzzer", LIB_FUZZING_ENGINE="-fsanitize=fuzzer", OUT=out, WORK=os.path.join(self.work, "objects"),
                               SRC=ROOT, HEAPSTORM_TARGETS=target)
            os.makedirs(environment["WORK"], exist_ok=True)
            status, text = self.command(["bash", os.path.join(ROOT, "fuzz", "build.sh")], "build.log", 1800, environment)
            if status != 0:
                raise RuntimeError(f"{target} does not build with -fsanitize={sanitizer}:\n{text[-2000:]}")
            self.bare("sanitizers", os.path.join(out, target), target, sanitizer, budget / len(jobs))

    def stress(self, budget):
        for allocator in ALLOCATORS:
            each = budget / len(ALLOCATORS)
            results = self.verb("stress", allocator, "--time", f"{each:.0f}s", "--seed", str(self.seed()), "--shard",
                                "{}/{}".format(*self.options.shard), budget=each)
            for result in results if isinstance(results, list) else [results]:
                self.figures["rounds"] += result["rounds"]
                self.found("stress", result)
                self.row("stress", f"{allocator}, thread", f"{result['rounds']} rounds, {result['operations']} operations", result["verdict"])

    def explore(self, budget):
        for allocator in ALLOCATORS:
            each = budget / len(ALLOCATORS) / 2
            for name, words in (("corpus", sorted(glob.glob(os.path.join(ROOT, "corpus", "threads", "*.heap")))), ("random programs", [])):
                results = self.verb("explore", *(["--allocator", allocator, *words] if words else [allocator]), "--budget", f"{max(1, each):.0f}s",
                                    "--seed", str(self.seed()), budget=each)
                results = results if isinstance(results, list) else [results]
                schedules = sum(result["schedules"] for result in results)
                self.figures["schedules"] += schedules
                for result in results:
                    self.found("explore", result)
                bad = [result["verdict"] for result in results if result["verdict"] != "clean"]
                self.row("explore", f"{allocator}, {name}", f"{schedules} schedules of {len(results)} programs", bad[0] if bad else "clean")

    def planted(self, budget):
        """As many as there is time for; the next night goes on behind them."""
        names = sorted(os.path.basename(path)[: -len(".patch")] for path in glob.glob(os.path.join(ROOT, "tests", "planted", "*.patch")))
        i, n = self.options.shard
        names = names[i::n] or names
        count = max(1, min(len(names), int(budget / 5)))
        first = len(self.history) * count % len(names)
        chosen = (names + names)[first: first + count]
        path = os.path.join(self.work, "planted.json")
        status, text = self.command([sys.executable, os.path.join(ROOT, "tests", "planted", "planted.py"), "run", "--build", self.build, "--budget",
                                     f"{SECONDS_PLANTED}s", "--seeds", str(self.seed()), "--json", path, *chosen], "planted.log", 3600)
        if not os.path.exists(path):
            raise RuntimeError(f"the planted mistakes were not searched:\n{text[-2000:]}")
        with open(path, encoding="utf-8") as file:
            results = json.load(file)
        times = []
        for result in results if isinstance(results, list) else results.values():
            name, verdict = result["bug"], result["verdict"]
            if verdict == "clean":
                self.missed.append(name)
            else:
                times.append(result["seconds"])
                self.detection[name] = result["seconds"]
        self.row("planted", f"{len(chosen)} of {len(names)} mistakes", f"{len(times)} found, median {statistics.median(times) if times else 0:.1f} s",
                 "clean" if status == 0 and not self.missed else "missed: " + ", ".join(self.missed) if self.missed else "misnamed")
        if status != 0 and not self.missed:
            self.missed.append("misnamed: " + re.sub(r"\s+", " ", text[-300:]))

    def packaged(self, budget):
        libraries = [path for name in PACKAGED for path in sorted(glob.glob(f"/usr/lib/*/{name}"))[:1]]
        if not libraries:
            self.row("packaged", "none is installed", "make setup-bench", "-")
        i, n = self.options.shard
        chosen = libraries[i::n]
        for path in chosen:
            each = budget / len(chosen)
            status, text = self.command([self.heapstorm, "check", path, "--budget", f"{max(5, each):.0f}s", "--out",
                                         os.path.join(self.state, "packaged")], "check.log", each * 3 + 600)
            said = re.findall(r"^verdict: (\S+)", text, re.M)
            verdict = said[-1] if said else f"status {status}"
            self.foreign[os.path.basename(path)] = verdict
            self.row("packaged", os.path.basename(path), f"checked for {each:.0f} s", verdict)

    # ---- The whole ----

    def seed(self):
        return 1 + (len(self.history) * 1000003 + self.options.shard[0] * 7919) % 4000000000

    def run(self):
        started = time.time()
        total = sum(STEPS[step] for step in self.options.only)
        for step in self.options.only:
            try:
                getattr(self, step)(self.options.budget * STEPS[step] / total)
            except RuntimeError as error:
                print(f"heapstorm: {error}", file=sys.stderr)
                self.row(step, "did not run", str(error).split("\n", 1)[0][:120], "error")
                self.missed.append(f"{step} did not run")
        night = {
            "date": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M"), "shard": "{}/{}".format(*self.options.shard),
            "seconds": round(time.time() - started), "bugs": self.bugs, "missed": self.missed, "detection": self.detection, "packaged": self.foreign,
            **self.figures,
        }
        with open(os.path.join(self.state, "history.jsonl"), "a", encoding="utf-8") as file:
            file.write(json.dumps(night) + "\n")
        self.history.append(night)
        self.page()
        shutil.rmtree(self.work)
        return 1 if self.bugs or self.missed else 0

    def page(self):
        night = self.history[-1]
        lines = [f"# heapstorm, the night of {night['date']}", "",
                 f"{night['seconds'] // 60} minutes, shard {night['shard']}: " + (f"**{len(self.bugs)} found, {len(self.missed)} missed**"
                 if self.bugs or self.missed else "nothing found, nothing missed") + ".", "",
                 "| step | what | figures | verdict |", "|---|---|---|---|"]
        lines += [f"| {' | '.join(row)} |" for row in self.rows]
        if self.bugs or self.missed:
            lines += ["", "## Found or missed", ""] + [f"- {text}" for text in self.bugs + [f"missed: {name}" for name in self.missed]]
        lines += ["", "## Trends", "", "| night | executions | edges | rounds | schedules | bugs | missed | planted, median s |", "|---|---:|---:|---:|---:|---:|---:|---:|"]
        for one in self.history[-30:]:
            times = list(one["detection"].values())
            lines.append(f"| {one['date']} ({one['shard']}) | {one['executions']} | {sum(one['coverage'].values()):.0f} | {one['rounds']} | {one['schedules']} | "
                         f"{len(one['bugs'])} | {len(one['missed'])} | {f'{statistics.median(times):.1f}' if times else '-'} |")
        for title, value in (("executions", lambda one: one["executions"]), ("edges", lambda one: sum(one["coverage"].values())),
                             ("schedules", lambda one: one["schedules"])):
            values = [value(one) for one in self.history[-30:]]
            most = max(values) or 1
            lines.append(("" if title != "executions" else "\n") + f"`{''.join('▁▂▃▄▅▆▇█'[int(7 * v / most)] for v in values)}` {title}  ")
        slowest = {}
        for one in self.history:
            for name, taken in one["detection"].items():
                slowest.setdefault(name, []).append(taken)
        if slowest:
            lines += ["", "## Planted mistakes", "", "| mistake | last, s | median, s | nights |", "|---|---:|---:|---:|"]
            lines += [f"| {name} | {taken[-1]:.1f} | {statistics.median(taken):.1f} | {len(taken)} |" for name, taken in sorted(slowest.items())]
        text = "\n".join(lines) + "\n"
        path = os.path.join(self.state, "summary.md")
        with open(path + ".new", "w", encoding="utf-8") as file:
            file.write(text)
        os.replace(path + ".new", path)


def main():
    parser = argparse.ArgumentParser(prog="nightly", description="Fuzzes, stresses and explores both allocators for a night.")
    parser.add_argument("--budget", type=seconds, default=600, metavar="TIME", help="for all steps together; building comes on top (default 10m)")
    parser.add_argument("--shard", type=shard, default=(0, 1), metavar="I/N", help="this machine is the I-th of N, from 0")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(STEPS), metavar="STEPS", help=", ".join(STEPS))
    parser.add_argument("--state", default=os.path.join(ROOT, "build", "nightly"), metavar="DIR", help="kept from night to night (default build/nightly)")
    parser.add_argument("--build", default=os.path.join(ROOT, "build"), metavar="DIR", help="the build to take (default build)")
    options = parser.parse_args()
    for step in options.only:
        if step not in STEPS:
            parser.error(f"no step is called '{step}'")
    if not os.access(os.path.join(options.build, "bin", "heapstorm"), os.X_OK):
        print(f"heapstorm: nothing is built in {options.build}: make", file=sys.stderr)
        sys.exit(3)
    os.makedirs(options.state, exist_ok=True)
    night = Night(options)
    status = night.run()
    print(f"summary: {os.path.join(night.state, 'summary.md')}")
    sys.exit(status)


if __name__ == "__main__":
    main()
