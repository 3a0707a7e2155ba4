#!/usr/bin/python3
"""Draws results as bars with their spread:  bench/plot.py [RESULTS_DIRECTORY [FILE.svg]]   (needs gnuplot)"""
import json
import pathlib
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
SCENARIOS = {"upload-2GiB-pipe": "upload\\nhttp", "upload-2GiB-pipe-https": "upload\\nhttps",
             "restore-8GiB": "restore\\nhttp", "restore-8GiB-https": "restore\\nhttps"}
CONTESTANTS = {"product": ("btrfs_to_s3", "#1b6ca8"), "floor": ("floor (no product)", "#9aa5b1"),
               "s3cmd": ("s3cmd", "#c9a227"), "aws": ("aws s3 cp", "#d9822b"),
               "aws-crt": ("aws s3 cp, CRT", "#b65f1b"), "rclone": ("rclone rcat", "#8f4b8a"),
               "restic": ("restic", "#5b7f3b")}
PANELS = (("cpu_s_per_gib", "CPU seconds for each GiB (less is better)"),
          ("throughput_mib_s", "MiB/s (more is better)"))


def script(found, output):
    """gnuplot's commands: one panel a figure, one group of bars a scenario, medians with min and max."""
    names = [name for name in SCENARIOS if name in found]
    present = [name for name in CONTESTANTS if any(name in found[one]["contestants"] for one in names)]
    machine = found[names[0]]["environment"]
    runs = found[names[0]]["parameters"]["runs"]
    lines = ["set terminal svg noenhanced size 1000,760 font 'sans-serif,13' background 'white'", f"set output '{output}'",
             f"set multiplot layout 2,1 title 'Medians of {runs} paired runs with minimum and maximum; {machine['cpu']}, "
             f"{machine['cores']} cores, kernel {machine['kernel']}'",
             "set style data histograms", "set style histogram errorbars gap 1.5 lw 1", "set style fill solid 0.9 noborder",
             "set grid y lc '#dddddd'", "set border 3", "set tics nomirror", "set key outside right top", "set yrange [0:*]",
             "set bmargin 3.5", "set errorbars front linecolor rgb '#333333'"]
    for figure, title in PANELS:
        lines.append("$data << EOD")
        for one in names:
            cells = []
            for name in present:
                value = found[one]["contestants"].get(name, {}).get("figures", {}).get(figure)
                cells.append("{median:.4f} {min:.4f} {max:.4f}".format(**value) if value else "NaN NaN NaN")
            lines.append(f'"{SCENARIOS[one]}" ' + " ".join(cells))
        lines.append("EOD")
        lines.append(f"set title '{title}'")
        lines.append("plot " + ", ".join(
            f"$data using {3 * i + 2}:{3 * i + 3}:{3 * i + 4}:xtic(1) title '{CONTESTANTS[name][0]}' "
            f"lc rgb '{CONTESTANTS[name][1]}'" for i, name in enumerate(present)))
    lines.append("unset multiplot")
    return "\n".join(lines) + "\n"


def draw(directory, output):
    """False when there is nothing to draw or nothing to draw with, which is said."""
    found = {}
    for name in SCENARIOS:
        path = directory / f"{name}.json"
        if path.exists():
            found[name] = json.loads(path.read_text(encoding="utf-8"))
    if not found:
        print(f"plot.py: {directory} has none of {', '.join(SCENARIOS)}", file=sys.stderr)
        return False
    if not shutil.which("gnuplot"):
        print("plot.py: gnuplot is not installed (tests/install_dependencies.sh peers)", file=sys.stderr)
        return False
    subprocess.run(["gnuplot"], input=script(found, output), text=True, check=True)
    return True


if __name__ == "__main__":
    results = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else HERE / "results"
    target = pathlib.Path(sys.argv[2]) if len(sys.argv) > 2 else results / "ratios.svg"
    sys.exit(0 if draw(results, target) else 1)
