"""What quickstart.sh runs when the program is built: two backups, two restores, everything compared."""
import argparse
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs, compare, dataset, rgw, s3, tool  # noqa: E402


def say(text):
    print(f"\n== {text}", flush=True)


def ran(title, outcome):
    print(outcome.stdout + outcome.stderr, end="", flush=True)
    if outcome.status != 0:
        raise SystemExit(f"{title}: exit status {outcome.status}")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--keep", action="store_true")
    arguments = parser.parse_args()
    reason = btrfs.why_not()
    if reason:
        raise SystemExit(f"quickstart: this machine cannot do it: {reason}")
    started = time.monotonic()
    tool.exit_on_signals()
    base = pathlib.Path(tempfile.mkdtemp(prefix="btrfs_to_s3-quickstart-"))
    gateway = rgw.Gateway(base / "gateway")
    stack = contextlib.ExitStack()
    stack.callback(lambda: subprocess.run(["rm", "-rf", "--one-file-system", str(base)], check=False))
    stack.callback(gateway.stop)
    try:
        say("a throwaway object gateway (about 20 s)")
        gateway.start()
        info = json.loads((base / "gateway" / "rgw.json").read_text())
        print(info["endpoint"])
        say("a Btrfs filesystem in an image file, with a subvolume full of data")
        filesystem = stack.enter_context(btrfs.filesystem(base))
        data = filesystem.subvolume("data")
        snapshots = filesystem.mount / "snapshots"
        snapshots.mkdir()
        dataset.seed(data, large_mib=150, small_files=2000)
        print(f"{data}: {sum(1 for _ in data.rglob('*'))} entries")
        bucket = s3.Bucket(info["endpoint"], "quickstart", info["access_key"], info["secret_key"])
        bucket.create()
        program = tool.Tool(arguments.binary, base, {
            "global": {"state_path": f"{base}/state.json", "lock_path": f"{base}/lock"},
            "subvolumes": {"paths": [str(data)]},
            "snapshots": {"base_dir": str(snapshots)},
            "s3": {"bucket": bucket.name, "region": "us-east-1", "prefix": "hosts/example",
                   "endpoint_url": info["endpoint"], "storage_class_chunks": "STANDARD",
                   "part_size_bytes": "32MiB", "chunk_size_bytes": "1GiB"},
        }, (info["access_key"], info["secret_key"]))
        stack.callback(program.kill_running)
        say("first backup: everything")
        ran("backup", program.run("backup"))
        full = bucket.get_json("hosts/example/subvol/data/current.json")["manifest_key"]
        say("data changes; second backup: what changed")
        dataset.mutate(data)
        ran("backup", program.run("backup", "--once"))
        say("restore of the first backup and of the newest")
        targets = [filesystem.mount / "restored-first", filesystem.mount / "restored-newest"]
        ran("restore", program.run("restore", "--subvolume", "data", "--manifest-key", full, "--target", str(targets[0])))
        ran("restore", program.run("restore", "--subvolume", "data", "--current", "--target", str(targets[1])))
        say("comparison with the snapshots: contents, modes, owners, times, xattrs, links, holes")
        for snapshot, target in zip(sorted(snapshots.iterdir()), targets):
            found = compare.differences(snapshot, target)
            print(f"{snapshot.name} = {target.name}: " + ("the same" if not found else f"{len(found)} differences"))
            if found:
                raise SystemExit("\n".join(found[:20]))
        say("the bucket")
        for key, size in bucket.list().items():
            print(f"{size:>12}  {key}")
        if bucket.open_uploads():
            raise SystemExit(f"open uploads were left: {bucket.open_uploads()}")
        say("the newest manifest")
        pointer = bucket.get_json("hosts/example/subvol/data/current.json")
        print(json.dumps(bucket.get_json(pointer["manifest_key"]), indent=1))
        print(f"\nquickstart: all of it worked, in {time.monotonic() - started:.0f} s without packages and build")
        if arguments.keep:
            print(f"kept: configuration {program.config}, filesystem {filesystem.mount}, gateway {info['endpoint']} "
                  f"(keys {info['access_key']} / {info['secret_key']})\nto remove it: umount {filesystem.mount}; "
                  f"python3 integration_tests/harness/rgw.py stop {base}/gateway; rm -r {base}", flush=True)
            # Not by return: what the stack holds unmounts when the interpreter drops it.
            os._exit(0)
    finally:
        with tool.signals_ignored():
            stack.close()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print("\nquickstart: interrupted; what it had made is removed", file=sys.stderr)
        sys.exit(130)
