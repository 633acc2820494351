"""Checks a SARIF file for what SARIF 2.1.0 and code scanning services demand: sarif.py FILE RESULTS. Prints what is wrong."""
import json
import re
import sys

WRONG = []


def check(good, what):
    if not good:
        WRONG.append(what)


def check_keys(item, allowed, where):
    extra = set(item) - set(allowed)
    check(not extra, f"{where}: {sorted(extra)}")


def check_message(message, where):
    check(isinstance(message.get("text"), str) and message["text"], f"{where}: no text")


def check_location(location, where):
    check_keys(location, ("id", "physicalLocation", "message"), where)
    check_keys(location["physicalLocation"], ("artifactLocation", "region"), where)
    uri = location["physicalLocation"]["artifactLocation"]["uri"]
    check(re.fullmatch(r"(file://)?[A-Za-z0-9/._~%-]+", uri), f"{where}: uri {uri}")
    check(uri.startswith("file:///") or not uri.startswith("/"), f"{where}: neither relative nor a URI: {uri}")
    region = location["physicalLocation"]["region"]
    check_keys(region, ("startLine", "startColumn"), where)
    check(all(isinstance(value, int) and value >= 1 for value in region.values()) and "startLine" in region, f"{where}: {region}")
    if "message" in location:
        check_message(location["message"], where)


def main():
    log = json.load(open(sys.argv[1]))
    check_keys(log, ("$schema", "version", "runs"), "log")
    check(log["version"] == "2.1.0" and log["$schema"].endswith("sarif-2.1.0.json"), "version")
    check(len(log["runs"]) == 1, "runs")
    run = log["runs"][0]
    check_keys(run, ("tool", "automationDetails", "columnKind", "results"), "run")
    check(run["columnKind"] in ("utf16CodeUnits", "unicodeCodePoints"), "columnKind")
    driver = run["tool"]["driver"]
    check(driver["name"] == "heapstorm", "name")
    check(re.fullmatch(r"\d+\.\d+\.\d+", driver["semanticVersion"]), "semanticVersion")
    rules = driver["rules"]
    check(len({rule["id"] for rule in rules}) == len(rules) >= 18, "rules")
    for rule in rules:
        for name in ("shortDescription", "fullDescription", "help"):
            check_message(rule[name], rule["id"])
        check(len(rule["shortDescription"]["text"]) <= 1024, f"{rule['id']}: longer than is shown")
        check(rule["defaultConfiguration"]["level"] == "error", rule["id"])
    check(len(run["results"]) == int(sys.argv[2]), f"{len(run['results'])} results, not {sys.argv[2]}")
    for result in run["results"]:
        check_keys(result, ("ruleId", "ruleIndex", "level", "message", "locations", "relatedLocations", "stacks", "partialFingerprints",
                            "properties"), "result")
        check(rules[result["ruleIndex"]]["id"] == result["ruleId"], f"rule {result['ruleId']}")
        check_message(result["message"], "result")
        check(len(result["locations"]) == 1, "no place")
        for location in result["locations"] + result["relatedLocations"]:
            check_location(location, "location")
        identities = [location["id"] for location in result["relatedLocations"]]
        check(len(set(identities)) == len(identities), "ids")
        for stack in result["stacks"]:
            for frame in stack["frames"]:
                check_location(frame["location"], "frame")
        check(all(isinstance(text, str) and text for text in result["partialFingerprints"].values()), "fingerprint")
    for what in WRONG:
        print(f"{sys.argv[1]}: {what}")
    sys.exit(1 if WRONG else 0)


main()
