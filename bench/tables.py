#!/usr/bin/python3
"""Results as Markdown:  bench/tables.py [RESULTS_DIRECTORY] [--write FILE...]

Without --write everything is printed. With it, each FILE's sections between `<!-- bench: NAME -->` and `<!-- /bench -->`
are replaced; names: machine, ratios, summary, targets, stages, rows, and twice: what the results in the directory's
`earlier`, those of another whole run, say beside these."""
import argparse
import json
import pathlib
import re
import sys

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
import compare  # noqa: E402
from scenarios import SCENARIOS  # noqa: E402

SHORT = ("upload-2GiB-pipe", "upload-2GiB-pipe-https", "restore-8GiB", "restore-8GiB-https", "restore-btrfs")


def spread(value, digits=2):
    if value is None:
        return ""
    if isinstance(value, dict):
        return f"{value['median']:.{digits}f} ({value['min']:.{digits}f} to {value['max']:.{digits}f})"
    return f"{value:.{digits}f}" if isinstance(value, float) else str(value)


def table(head, rows):
    if not rows:
        return "Nothing measured yet."
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |" for cells in (head, ["---"] * len(head), *rows))


def machine(results):
    lines = []
    for environment in {json.dumps({key: value for key, value in one["environment"].items() if key not in
                                    ("date", "load_average")}, sort_keys=True): one["environment"]
                        for one in results.values()}.values():
        versions = ", ".join(f"{text}" for text in environment["versions"].values() if text)
        lines.append(f"{environment['date'][:10]}, commit {environment['commit'][:12]}"
                     f"{' with uncommitted changes' if environment['uncommitted_changes'] else ''}, {environment['cpu']}, "
                     f"{environment['cores']} cores, {environment['memory_gib']} GiB, kernel {environment['kernel']}, "
                     f"{environment['system']}. {versions}.")
    return "\n".join(lines)


def ratios(results, short=False):
    rows = []
    for name, found in results.items():
        if short and name not in SHORT:
            continue
        for contestant, value in found.get("contestants", {}).items():
            figures = value["figures"]
            ratio = found["ratios"].get(f"product/{contestant}", {})
            columns = [name if contestant == "product" else "", contestant, spread(figures["throughput_mib_s"], 0),
                       spread(figures["cpu_s_per_gib"]), spread(figures["peak_rss_mib"], 0)]
            if not short:
                columns[4:4] = [spread(figures["cpu_with_children_s_per_gib"])]
                columns += [spread(figures["switches_per_gib"], 0), str(value.get("syscalls_per_gib", ""))]
            rows.append(columns + [spread(ratio.get("cpu_s_per_gib")), spread(ratio.get("throughput_mib_s"))])
    head = ["scenario", "who", "MiB/s", "CPU-s/GiB", "peak RSS, MiB"]
    if not short:
        head[4:4] = ["with children"]
        head += ["context switches/GiB", "system calls/GiB"]
    return table(head + ["product's CPU / its", "product's MiB/s / its"], rows)


def targets(results):
    return table(["scenario", "", "measured", "wanted", ""],
                 [[name, target["name"], spread(target["value"], 3), target["wanted"], "met" if target["met"] else "**not met**"]
                  for name, found in results.items() for target in found.get("targets", [])])


def stages(results):
    """One column a path, "product / floor"."""
    found = results.get("stages")
    if not found:
        return table([], [])
    paths = list(dict.fromkeys(row["path"] for row in found["rows"]))
    names = [name for name in dict.fromkeys(row["stage"] for row in found["rows"]) if name != "all"] + ["all"]
    cells = {(row["stage"], row["path"]): row for row in found["rows"]}
    rows = []
    for name in names:
        line = [name]
        for path in paths:
            row = cells.get((name, path))
            line.append(f"{row['product_s_per_gib']:.2f} / {row['floor_s_per_gib']:.2f}" if row else "")
        rows.append(line)
    return table(["stage", *paths], rows)


def other_rows(results):
    """Scenarios that are no contests, each with its own columns."""
    parts = []
    for name, found in results.items():
        if name == "stages" or not found.get("rows"):
            continue
        keys = list(dict.fromkeys(key for row in found["rows"] for key in row))
        instructions = found.get("instructions", {})
        rows = [[spread(row.get(key)) for key in keys] +
                ([f"{instructions[row['what']]:,}" if row.get("what") in instructions else ""] if instructions else [])
                for row in found["rows"]]
        head = [key.replace("_", " ") for key in keys] + (["instructions"] if instructions else [])
        parts.append(f"`{name}`: {found['description']}\n\n" + table(head, rows))
    return "\n\n".join(parts) or table([], [])


def twice(results, earlier):
    """Both runs beside each other: contests as compare.py sees them, the others by their targets."""
    rows = []
    for name, found in results.items():
        before = earlier.get(name)
        if not before or before == found:  # one run is not two
            continue
        if "contestants" in found:
            lines = [[row["figure"], spread(row["before"]), spread(row["after"]), row["verdict"]]
                     for row in compare.compare_contest(before, found) if row["figure"].split(" ")[0] in TWICE]
        else:
            values = {target["name"]: target for target in before.get("targets", [])}
            lines = [[target["name"], spread(values[target["name"]]["value"], 3), spread(target["value"], 3),
                      "both met" if target["met"] and values[target["name"]]["met"] else "**not both met**"]
                     for target in found.get("targets", []) if target["name"] in values]
        rows += [[name if line is lines[0] else "", *line] for line in lines]
    return table(["scenario", "", "earlier", "now", ""], rows)


TWICE = ("cpu_s_per_gib", "seconds")
SECTIONS = {"machine": machine, "ratios": ratios, "summary": lambda results: ratios(results, short=True),
            "targets": targets, "stages": stages, "rows": other_rows}
MARK = re.compile(r"(<!-- bench: (\w+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def loaded(directory):
    """{name: result}, in the order of run.sh --list."""
    paths = [directory / f"{name}.json" for name in SCENARIOS]
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()}


def sections_of(directory):
    """{name: Markdown}; empty without results."""
    results = loaded(directory)
    if not results:
        return {}
    return {**{name: section(results) for name, section in SECTIONS.items()},
            "twice": twice(results, loaded(directory / "earlier"))}


def filled(text, sections):
    """The text with every marked section written anew; an unknown name is an error."""
    return MARK.sub(lambda match: f"{match[1]}{sections[match[2]]}\n{match[3]}", text)


def main(argv):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", nargs="?", type=pathlib.Path, default=HERE / "results")
    parser.add_argument("--write", nargs="+", type=pathlib.Path, default=[], metavar="FILE")
    arguments = parser.parse_args(argv)
    sections = sections_of(arguments.directory)
    if not sections:
        parser.error(f"{arguments.directory} has no results; bench/run.sh makes some")
    for path in arguments.write:
        path.write_text(filled(path.read_text(encoding="utf-8"), sections), encoding="utf-8")
    if not arguments.write:
        print("\n\n".join(text for name, text in sections.items() if name != "summary"))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
