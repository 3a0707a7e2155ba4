"""Small pieces of the program, each alone: time by Google Benchmark, instructions by callgrind."""
import json
import re
import shutil
import subprocess
import tempfile

from kit import figures, measure
from .common import MIB, target
from .registry import scenario

# For the same function on the same machine callgrind counts the same: SHA extensions are hidden by valgrind, hash seeds
# and environment fixed.
CALLGRIND = ["valgrind", "--tool=callgrind", "--toggle-collect=*counted_body*"]


def count_instructions(program, name):
    with tempfile.NamedTemporaryFile() as out:
        usage = measure.run([*CALLGRIND, f"--callgrind-out-file={out.name}", str(program), "--once", name])
    found = re.search(r"Collected : (\d+)", usage.stderr)
    if not found or int(found[1]) == 0:
        raise measure.Failed(f"callgrind counted nothing for {name}:\n{usage.stderr}")
    return int(found[1])


@scenario("micro", size=MIB, smoke=MIB)
def micro(context):
    """Task switch, ring read, hashing, seal, SigV4, XML, manifest of 40,000 parts, plan of 1,000 subvolumes."""
    program = context.program("bench/bench_micro")
    usage = measure.run([str(program), "--benchmark_format=json", f"--benchmark_repetitions={context.runs}",
                         f"--benchmark_min_time={0.001 if context.smoke else 0.2}"])
    times, rates = {}, {}
    for run in json.loads(usage.stdout)["benchmarks"]:
        if run["run_type"] == "iteration":
            name = run["name"].split("/")[0]
            times.setdefault(name, []).append(run["real_time"])
            if "bytes_per_second" in run:
                rates.setdefault(name, []).append(run["bytes_per_second"] / MIB)
    rows = [{"what": name, "microseconds": figures.spread(values),
             **({"mib_s": figures.spread(rates[name])} if name in rates else {})} for name, values in times.items()]
    found = {"rows": rows, "skipped": {}, "instructions": {}, "runs": times}
    names = subprocess.run([str(program), "--counted"], check=True, capture_output=True, text=True).stdout.split()
    if not shutil.which("valgrind"):
        found["skipped"]["instructions"] = "valgrind is not installed (tests/install_dependencies.sh peers)"
    else:
        for name in names[:1] if context.smoke else names:
            found["instructions"][name] = count_instructions(program, name)
            context.say(f"  {name}: {found['instructions'][name]:,} instructions")
    plan = figures.spread(a + b for a, b in zip(times["plan_1000_subvolumes_x_30_links"],
                                                times["parse_30000_manifests"]))["median"] / 1000
    found["targets"] = [target("ms to read the chains of 1,000 subvolumes and plan", plan, "< 100", plan < 100)]
    return found
