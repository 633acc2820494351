"""Compares JSON files with docs/json.md: json_keys.py docs/json.md SECTION FILE[:KEY]... A section that is no bench has the fields of "Every
result" too. Prints keys that are not documented, and documented ones that are missing."""
import json
import re
import sys


def read_sections(path):
    """{section: {field: when}}"""
    sections, title = {}, ""
    for line in open(path):
        if line.startswith("## "):
            title = line[3:].strip()
        row = re.match(r"\| (`.*?`) \| (always|found|sometimes) \|", line)
        if row:
            for field in re.findall(r"`([^`]+)`", row.group(1)):
                sections.setdefault(title, {})[field] = row.group(2)
    return sections


def check(result, fields, where):
    wrong = [f"{where}: {key} is not documented" for key in result if key not in fields]
    found = result.get("verdict", "clean") != "clean"
    for field, when in fields.items():
        if field not in result and (when == "always" or (when == "found" and found)):
            wrong.append(f"{where}: {field} is missing")
        if when == "found" and not found and field in result:
            wrong.append(f"{where}: {field} in a clean result")
    return wrong


def main():
    sections = read_sections(sys.argv[1])
    fields = {}
    for section in sys.argv[2].split("+"):
        fields.update(sections[section])
    wrong = []
    for name in sys.argv[3:]:
        path, _, key = name.partition(":")
        results = json.load(open(path))
        results = results[key] if key else results
        for result in results if isinstance(results, list) else [results]:
            wrong += check(result, fields, name)
    for line in wrong:
        print(line)
    sys.exit(1 if wrong else 0)


main()
