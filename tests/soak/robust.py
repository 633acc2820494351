#!/usr/bin/env python3
"""Processes that are killed, full disks, two runs in one folder: robust.py HEAPSTORM SOURCE BUILD [ROUNDS]

Whatever is killed (SIGKILL) at whatever moment: no process stays behind, what lies in the folder of failures is whole, and a run afterwards works there.
"""
import glob
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

HEAPSTORM, SOURCE, BUILD = (os.path.abspath(path) for path in sys.argv[1:4])
ROUNDS = int(sys.argv[4]) if len(sys.argv) > 4 else 4
MARK = f"HEAPSTORM_TEST_MARK={os.getpid()}"
failures = []


def fail(text):
    failures.append(text)
    print(f"FAILED  {text}", flush=True)


def environment(**more):
    name, value = MARK.split("=")
    return dict(os.environ, **{name: value}, **more)


def processes():
    """Those that a test started, by the mark in their environment."""
    found = []
    for path in glob.glob("/proc/[0-9]*/environ"):
        try:
            with open(path, "rb") as file:
                pid = int(path.split("/")[2])
                if MARK.encode() in file.read().split(b"\0") and pid != os.getpid():
                    with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:
                        if stat.read().rsplit(")", 1)[1].split()[0] not in "ZX":
                            found.append(pid)
        except (OSError, ValueError):
            pass
    return found


def expect_none(where):
    for _ in range(600):  # what was recorded may work on for a while
        if not processes():
            return
        time.sleep(0.05)
    left = processes()
    names = []
    for pid in left:
        try:
            with open(f"/proc/{pid}/cmdline", encoding="utf-8", errors="replace") as file:
                names.append(file.read().replace("\0", " ")[:80])
            os.kill(pid, signal.SIGKILL)
        except OSError:
            pass
    fail(f"{where}: processes stay behind: {names}")


def planted(name, *options):
    """The fuzz target of a planted bug, or what else build.sh makes of it."""
    done = subprocess.run(["sh", f"{SOURCE}/tests/planted/build.sh", "--build", BUILD, *options, f"{SOURCE}/tests/planted/{name}.patch"],
                          capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(done.stderr)
    return done.stdout.strip()


def check_kept(folder, where):
    """Every failure with a name is whole."""
    for one in glob.glob(f"{folder}/*"):
        try:
            with open(f"{one}/failure.json", encoding="utf-8") as file:
                if "verdict" not in json.load(file):
                    fail(f"{where}: {one}/failure.json has no verdict")
        except (OSError, ValueError) as error:
            fail(f"{where}: {error}")
        done = subprocess.run([HEAPSTORM, "show", f"{one}/program.heap"], capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"{where}: {done.stderr.strip()}")


def check_program(path, where):
    if os.path.exists(path):
        done = subprocess.run([HEAPSTORM, "show", path], capture_output=True, text=True)
        if done.returncode != 0:
            fail(f"{where}: {done.stderr.strip()}")


def kill_at(command, delay, folder, where, whole=False, **more):
    before = set(glob.glob(f"{folder}/out/*"))
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder, env=environment(TMPDIR=folder, **more),
                               stdin=subprocess.DEVNULL)
    time.sleep(delay)
    if whole:  # a part of it instead of the command
        others = [pid for pid in processes() if pid != process.pid]
        if others:
            try:
                os.kill(random.choice(others), signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            fail(f"{where}: goes on for ever without a part of it")
            process.kill()
    else:
        process.kill()
    process.wait()
    expect_none(where)
    # Of a fuzzer the program at work is kept, whoever killed it.
    if whole and command[1] != "fuzz" and set(glob.glob(f"{folder}/out/*")) - before:
        fail(f"{where}: that was taken for a mistake of the allocator")


def kills(work, target, planted_runner):
    seeds = f"{SOURCE}/corpus/sequence"
    shutil.copy(f"{SOURCE}/corpus/regress/calloc-trusts-dirty-memory.heap", f"{work}/large.heap")
    random.seed(os.getpid())
    cases = {
        "fuzz": ([HEAPSTORM, "fuzz", "mem_alloc_2.0", "--target", target, "--out", "out", "--corpus", "corpus"], {}),
        "fuzz, nothing found": ([HEAPSTORM, "fuzz", "mem_alloc_2.0", "--seeds", seeds, "--out", "out", "--corpus", "corpus2"], {}),
        "stress": ([HEAPSTORM, "stress", "mem_alloc_2.0", "--variant", "plain", "--time", "10s", "--out", "out"], {}),
        "explore": ([HEAPSTORM, "explore", "mem_alloc_2.0", "--budget", "10s", "--out", "out"], {}),
        "minimize": ([HEAPSTORM, "minimize", "large.heap", "-o", "small.heap", "--allocator", "mem_alloc_2.0"], {"HEAPSTORM_RUNNER": planted_runner}),
        "record": ([HEAPSTORM, "record", "-o", "recorded.trace", "--", "perl", "-e", "for (1..3000000) { push @a, \"x$_\" }"], {}),
    }
    for name, (command, more) in cases.items():
        for i in range(ROUNDS):
            for whole in (False, True):
                delay = random.choice((0.02, 0.1, 0.3, 1.0)) * random.uniform(0.5, 1.5)
                where = f"{name}, {'a part' if whole else 'the command'} killed after {delay:.2f} s"
                if whole and name == "fuzz, nothing found" or (whole and i > 0):
                    continue
                kill_at(command, delay, work, where, whole, **more)
                check_kept(f"{work}/out", where)
                check_program(f"{work}/small.heap", where)
                if os.path.exists(f"{work}/recorded.trace"):
                    # Whole, or told to be cut off: in one line.
                    done = subprocess.run([HEAPSTORM, "show", f"{work}/recorded.trace"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
                    if done.returncode not in (0, 2) or len(done.stderr.splitlines()) > 1:
                        fail(f"{where}: the recording: status {done.returncode}: {done.stderr.strip()}")
                    os.unlink(f"{work}/recorded.trace")
        print(f"passed  {name}" if not failures else f"        {name}", flush=True)
    # Afterwards the same folder still takes what is found.
    done = subprocess.run([HEAPSTORM, "fuzz", "mem_alloc_2.0", "--target", target, "--out", "out", "--budget", "60s"], cwd=work, capture_output=True, text=True)
    if done.returncode != 1 or "verdict: not-zeroed" not in done.stdout:
        fail(f"after the kills a run ends with status {done.returncode}: {done.stdout[-300:]}{done.stderr[-300:]}")
    check_kept(f"{work}/out", "after the kills")
    if not glob.glob(f"{work}/out/*"):
        fail("after the kills nothing was kept")


def finding_is_not_lost(work, target):
    """Once a failure is told of, it stays, whenever the command is killed."""
    folder = f"{work}/told"
    os.mkdir(folder)
    process = subprocess.Popen([HEAPSTORM, "fuzz", "mem_alloc_2.0", "--target", target, "--out", "out", "--budget", "60s"], cwd=folder,
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(TMPDIR=folder))
    deadline = time.time() + 60
    while time.time() < deadline and not glob.glob(f"{folder}/out/*") and process.poll() is None:
        time.sleep(0.002)
    process.kill()
    process.wait()
    expect_none("fuzz killed while it makes a failure small")
    check_kept(f"{folder}/out", "fuzz killed while it makes a failure small")
    if not glob.glob(f"{folder}/out/*/input"):
        fail("the input of a failure is lost when fuzz is killed while it makes it small")


def full_disk(work, target):
    def says(command, text, more=None, **options):
        done = subprocess.run(command, cwd=work, capture_output=True, text=True, env=environment(**(more or {})), **options)
        if done.returncode not in (2, 3) or text not in done.stderr or "Sanitizer" in done.stderr:
            fail(f"full disk: {' '.join(command[1:3])}: status {done.returncode}: {done.stderr[-300:]}")

    program = f"{SOURCE}/corpus/sequence/malloc-free.heap"
    says([HEAPSTORM, "replay", program, "--allocator", "mem_alloc", "--variant", "plain", "--json", "/dev/full"], "cannot be written: No space left")
    says([HEAPSTORM, "replay", program, "--allocator", "mem_alloc", "--variant", "plain", "--junit", "/dev/full"], "cannot be written: No space left")
    says([HEAPSTORM, "show", program, "-o", "/dev/full"], "cannot be written: No space left")
    says([HEAPSTORM, "export", program, "--rep", "-o", "/dev/full"], "cannot be written: No space left")
    # Where a file system may be mounted, one that has room for nothing.
    small = f"{work}/tiny"
    os.mkdir(small)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k,nr_inodes=100", "tmpfs", small], capture_output=True).returncode == 0
    try:
        if mounted:
            with open(f"{small}/filler", "wb", buffering=0) as file:
                try:
                    while True:
                        file.write(bytes(4096))
                        file.flush()
                except OSError:
                    pass
            says([HEAPSTORM, "fuzz", "mem_alloc_2.0", "--target", target, "--out", f"{small}/out", "--budget", "60s"], "No space left")
            says([HEAPSTORM, "record", "-o", f"{small}/trace", "--", "perl", "-e", "1"], "No space left")
    finally:
        if mounted:
            subprocess.run(["umount", small], check=True)

    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    says([HEAPSTORM, "export", f"{SOURCE}/corpus/traces/jq.trace", "--rep", "-o", "jq.rep"], "File too large", preexec_fn=limit)
    expect_none("full disk")
    print(f"passed  full disk{'' if mounted else ', without a mount'}", flush=True)


def two_at_once(work, target):
    folder = f"{work}/two"
    os.mkdir(folder)
    runs = [subprocess.Popen([HEAPSTORM, "fuzz", "mem_alloc_2.0", "--target", target, "--out", "out", "--corpus", "corpus", "--budget", "60s", "--seed", str(seed)],
                             cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()) for seed in (1, 1, 2)]
    for run in runs:
        out, err = run.communicate(timeout=180)
        if run.returncode != 1 or "verdict: not-zeroed" not in out:
            fail(f"three in one folder: status {run.returncode}: {out[-300:]}{err[-300:]}")
    check_kept(f"{folder}/out", "three in one folder")
    seen = 0
    for path in glob.glob(f"{folder}/out/*/failure.json"):
        with open(path, encoding="utf-8") as file:
            seen += json.load(file)["seen"]
    if seen != 3:
        fail(f"three in one folder: {seen} sightings were counted")
    if glob.glob(f"{folder}/out/.new*"):
        fail("three in one folder: something unfinished is left")
    expect_none("three in one folder")
    print("passed  three in one folder", flush=True)


def main():
    target, planted_runner = planted("calloc-tail-dirty"), planted("dirty-in-granules", "--runner")
    work = tempfile.mkdtemp(prefix="heapstorm-robust-")
    try:
        two_at_once(work, target)
        full_disk(work, target)
        finding_is_not_lost(work, target)
        kills(work, target, planted_runner)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    print(f"{len(failures)} failures")
    sys.exit(1 if failures else 0)


main()
