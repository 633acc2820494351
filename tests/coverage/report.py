#!/usr/bin/env python3
"""What of the allocators a run covered: report.py LCOV SOURCE UNREACHED

LCOV is what `llvm-cov export -format=lcov` wrote, SOURCE the folder of the sources, UNREACHED a file of reasons (unreached.txt). Prints lines and branches
by file, those that were not reached without a reason, and the figures. Exit status 1 when these are below the limits, or when a reason explains nothing.

A file of reasons has paragraphs: a line of text that ends in a colon, then indented lines `FILE PATTERN` (a regular expression that a line of FILE
matches) or `FILE function NAME`. A branch is explained with its line, or with the line behind its condition that nobody reached.
"""
import collections
import re
import sys

LINES_LEAST, BRANCHES_LEAST = 98.0, 90.0  # per cent of what has no reason


def read_lcov(path):
    lines, branches = collections.defaultdict(dict), collections.defaultdict(dict)
    file = None
    for text in open(path):
        key, _, value = text.strip().partition(":")
        if key == "SF":
            file = value
        elif key == "DA":
            number, count = map(int, value.split(",")[:2])
            lines[file][number] = max(count, lines[file].get(number, 0))
        elif key == "BRDA":
            number, block, branch, count = value.split(",")
            place = int(number), block, branch
            branches[file][place] = max(0 if count == "-" else int(count), branches[file].get(place, 0))
    return lines, branches


def functions_of(source):
    """Lines of each function: from the line with its name to the brace in the first column."""
    found, name, start = {}, None, 0
    for number, text in enumerate(source, 1):
        match = re.match(r"[A-Za-z_].*?(\w+)\(", text)
        if match and not text.rstrip().endswith(";") and not text.startswith(("#", "typedef", "__attribute__((weak")):
            name, start = match[1], number
            while name in ("__attribute__", "noinline", "aligned", "unlikely"):
                match = re.search(r"\)\)\s*.*?(\w+)\(", text)
                name = match[1] if match else None
        if text.startswith("}") and name:
            found[name] = start, number
            name = None
    return found


def read_reasons(path):
    reason, rules = None, []
    for number, text in enumerate(open(path), 1):
        if not text.strip() or text.startswith("#"):
            continue
        if not text.startswith(" ") and not text.startswith("\t"):
            reason = text.strip().rstrip(":")
            continue
        file, _, pattern = text.strip().partition(" ")
        rules.append((number, file, pattern.strip(), reason))
    return rules


def main():
    lcov, root, reasons = sys.argv[1:4]
    lines, branches = read_lcov(lcov)
    rules = read_reasons(reasons)
    used = set()
    total = collections.Counter()
    left = []
    print(f"{'file':32} {'lines':>12} {'branches':>14}   without a reason: lines, branches")
    for path in sorted(lines):
        if "/alloc/" not in path:
            continue
        file = path.split("/alloc/", 1)[1]
        source = open(f"{root}/alloc/{file}").read().split("\n")
        functions = functions_of(source)
        missed = {n for n, count in lines[path].items() if count == 0}
        missed_branches = [n for (n, _, _), count in branches[path].items() if count == 0]
        explained = set()  # lines
        for number, wanted, pattern, _ in rules:
            if wanted not in (file, "*"):
                continue
            if pattern.startswith("function "):
                first, last = functions.get(pattern.split()[1], (1, 0))
                hits = set(range(first, last + 1))
            else:
                hits = {n for n, text in enumerate(source, 1) if re.search(pattern, text)}
            if hits & (missed | set(missed_branches)):
                used.add(number)
            explained |= hits
        # A block that nobody reached is explained with one of its lines.
        for n in sorted(missed):
            if (n - 1 in missed or n - 1 in missed_branches) and n - 1 in explained and not source[n - 2].rstrip().endswith("}"):
                explained.add(n)
        for n in sorted(missed, reverse=True):
            if n + 1 in missed and n + 1 in explained and not source[n - 1].strip().startswith("}"):
                explained.add(n)

        def has_reason(n):
            if n in explained:
                return True
            behind = next((k for k in range(n + 1, n + 5) if k in missed), None)
            return behind is not None and behind in explained

        open_lines = sorted(n for n in missed if n not in explained)
        open_branches = [n for n in missed_branches if not has_reason(n)]
        reached = len(lines[path]) - len(missed), len(branches[path]) - len(missed_branches)
        total.update(lines=len(lines[path]), lines_hit=reached[0], branches=len(branches[path]), branches_hit=reached[1],
                     open_lines=len(open_lines), open_branches=len(open_branches))
        print(f"{file:32} {reached[0]:5} of {len(lines[path]):4} {reached[1]:6} of {len(branches[path]):4}   {len(open_lines):5} {len(open_branches):5}")
        for n in sorted(set(open_lines) | set(open_branches)):
            left.append(f"  {file}:{n}: {'never reached' if n in open_lines else f'{open_branches.count(n)} of its branches never taken'}:  {source[n - 1].strip()}")
    print("\nNever reached, and no reason given:")
    print("\n".join(left) if left else "  nothing")

    def share(hit, unexplained):
        return 100.0 * hit / (hit + unexplained) if hit + unexplained else 100.0

    line_share = share(total["lines_hit"], total["open_lines"])
    branch_share = share(total["branches_hit"], total["open_branches"])
    print(f"\nlines     {total['lines_hit']} of {total['lines']} ({100.0 * total['lines_hit'] / total['lines']:.1f} %), "
          f"{line_share:.2f} % of those without a reason; at least {LINES_LEAST:.0f} %")
    print(f"branches  {total['branches_hit']} of {total['branches']} ({100.0 * total['branches_hit'] / total['branches']:.1f} %), "
          f"{branch_share:.2f} % of those without a reason; at least {BRANCHES_LEAST:.0f} %")
    stale = [rule for rule in rules if rule[0] not in used]
    for number, file, pattern, _ in stale:
        print(f"{reasons}:{number}: {file} {pattern}: explains nothing that was not reached")
    return 1 if stale or line_share < LINES_LEAST or branch_share < BRANCHES_LEAST else 0


if __name__ == "__main__":
    sys.exit(main())
