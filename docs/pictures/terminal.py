#!/usr/bin/env python3
"""Draws what a terminal shows: terminal.py COMMAND <OUTPUT >FILE.svg"""
import html
import sys

WIDTH, LINE, CHARACTER = 96, 17, 7.83


def main():
    lines = ["$ " + sys.argv[1]] + [line.rstrip("\n")[:WIDTH] for line in sys.stdin]
    width, height = WIDTH * CHARACTER + 24, len(lines) * LINE + 44
    print(f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height}" viewBox="0 0 {width:.0f} {height}">')
    print(f'<rect width="100%" height="100%" rx="8" fill="#1b1d23"/>')
    for i, colour in enumerate(("#e06c5f", "#e0b54f", "#62b567")):
        print(f'<circle cx="{18 + 16 * i}" cy="16" r="5" fill="{colour}"/>')
    print('<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13" fill="#d7dae0">')
    for i, line in enumerate(lines):
        bad = line.endswith(" found") or line.startswith(("not-zeroed", "verdict: ")) and not line.endswith("clean")
        colour = ' fill="#ff8d80"' if bad else ' fill="#8fd694"' if line.endswith("clean") else ' fill="#ffffff"' if i == 0 else ""
        print(f'<text x="12" y="{44 + i * LINE}"{colour}>{html.escape(line).replace(" ", "&#160;")}</text>')
    print("</g></svg>")


main()
