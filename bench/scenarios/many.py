"""A bucket with thousands of backups, far away: what looking at all of it takes, and what looking again."""
import json
import pathlib
import subprocess

from kit import far_bucket, figures, measure, product
from .common import MIB, target
from .registry import Skipped, scenario

from harness.played_bucket import many_backups  # product knows where that is

MILLISECONDS = 20
EACH = 100  # backups of a subvolume
PART = 128 * MIB
ROOT = "hosts/bench"
# (command, arguments, its exit status, seconds wanted cold and warm). status warns: the backups are of other subvolumes.
COMMANDS = (("list", ("--json",), 0, 10, 1),
            ("status", ("--json",), 1, None, None),
            ("plan", ("--json",), 0, None, None),
            ("verify", ("--quick", "--json"), 0, None, None))


def template(parts):
    """A manifest of this host with one chunk of so many parts, as the program writes them; many_backups() dates and names it."""
    size = parts * PART
    chunk = {"key": "", "size": size, "sha256": "5a" * 32, "etag": '"0123456789abcdef0123456789abcdef-1"', "part_size": PART,
             "part_crc32": ["AAAAAA=="] * parts, "part_sha256_states": ["a5" * 32] * (parts - 1)}
    return {"version": 1, "subvolume": "", "kind": "full", "created_at": "",
            "snapshot": {"name": "", "path": "/mnt/snapshots/data__20260101T000000Z__full", "uuid": "", "parent_uuid": None,
                         "received_uuid": None, "ctransid": 1},
            "parent_manifest": None, "chunks": [chunk], "total_bytes": size, "chunk_size": 200 << 30,
            "s3": {"storage_class": "STANDARD"}, "stream": {"protocol": 2, "compressed_data": True, "commands": 1000},
            "tool": {"name": "btrfs_to_s3", "version": "0.1.0"},
            "host": {"id": pathlib.Path("/etc/machine-id").read_text(encoding="ascii").strip(), "name": "bench"}}


def configured(program, names, endpoint):
    return program.configure(s3={"endpoint_url": endpoint, "prefix": ROOT, "payload_signing": "unsigned"},
                             subvolumes={"paths": [str(program.mount / name) for name in names]})


@scenario("many-backups", size=10_000, smoke=200, runs=3)
def many_backups_far_away(context):
    """10,000 backups of 100 subvolumes, 20 ms away: looking at them for the first time, and again. The size counts backups."""
    reason = product.why_not()
    if reason:
        raise Skipped(reason)
    each = min(EACH, context.size // 2)
    names = [f"volume{number:04}" for number in range(context.size // each)]
    documents, sizes = many_backups(template(8), {}, ROOT, names, each)
    rows, targets, runs = [], [], {}
    with context.scratch(context.memory_directory) as directory, \
            product.btrfs.filesystem(directory, "1G", options="noatime") as filesystem, \
            far_bucket.running(context, directory / "objects", documents, sizes, MILLISECONDS) as bucket:
        program = product.Product(context, filesystem, directory)
        for name in names:
            subprocess.run([program.real, "subvolume", "create", str(program.mount / name)], check=True, capture_output=True)
        config = configured(program, names, bucket.endpoint)
        for command, arguments, status, cold_wanted, warm_wanted in COMMANDS:
            found = {"cold": [], "warm": []}
            asked = {}
            for turn in range(context.runs):
                home = directory / f"home-{command}-{turn}"
                home.mkdir()
                for kind in ("cold", "warm"):
                    bucket.asked()
                    usage = program.run(command, config, *arguments, environment={"HOME": str(home)}, expect=status)
                    asked[kind] = bucket.asked()
                    check(usage, command, names, each)
                    found[kind].append(usage)
                context.say(f"  {command} {turn + 1}/{context.runs}: cold {found['cold'][-1].seconds:.2f} s, "
                            f"warm {found['warm'][-1].seconds:.2f} s")
            for kind, wanted in (("cold", cold_wanted), ("warm", warm_wanted)):
                seconds = figures.spread(usage.seconds for usage in found[kind])
                peak = figures.spread(usage.peak_rss / MIB for usage in found[kind])
                rows.append({"what": f"{command}, {kind}", "seconds": seconds,
                             "cpu_s": figures.spread(usage.cpu_own for usage in found[kind]), "peak_rss_mib": peak,
                             **asked[kind]})
                if wanted:
                    targets.append(target(f"seconds of {command}, {kind}", seconds["median"], f"<= {wanted}",
                                          seconds["median"] <= wanted))
                targets.append(target(f"peak RSS of {command}, {kind}, MiB", peak["max"], "<= 200", peak["max"] <= 200))
                runs[f"{command}, {kind}"] = [usage.figures() for usage in found[kind]]
    return {"rows": rows, "targets": targets, "runs": runs, "milliseconds": MILLISECONDS,
            "backups": len(names) * each, "subvolumes": len(names)}


def check(usage, command, names, each):
    """A run that has not seen all of it does not count."""
    told = json.loads(usage.stdout)
    if {one["subvolume"] for one in told["subvolumes"]} != set(names):
        raise measure.Failed(f"{command} does not tell of all subvolumes:\n{usage.stdout[:2000]}")
    if command == "list":
        count = sum(len(generation["backups"]) for one in told["subvolumes"] for generation in one["generations"])
        if count != len(names) * each:
            raise measure.Failed(f"list tells of {count} backups")
