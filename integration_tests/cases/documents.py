"""The documents do what they say: every command that README.md and docs/ show is run."""
import contextlib
import copy
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import archive, btrfs, compare, dataset, documents, rgw, s3  # noqa: E402
from world import case  # noqa: E402

SOURCES = pathlib.Path(__file__).resolve().parents[2]
# Where a document has restored /srv/data to in the end.
RESTORED = {"docs/format.md": "/mnt/data", "docs/recovery.md": "/mnt/data"}


def first_full(bucket):
    """The time in the key of the oldest full backup of "data", or None."""
    keys = [key for key in bucket.list() if "/subvol/data/full/manifest-" in key]
    return min(keys).rpartition("-")[2].removesuffix(".json") if keys else None


# What the users of the policies must not be able to do.
REFUSED = {"backup": "DELETE", "restore": "PUT"}


@contextlib.contextmanager
def user(w, name, policy):
    """The environment of a user who may do what this policy allows, and nothing else."""
    gateway, uid = rgw.Gateway(w.gateway_directory), f"{name}-{w.bucket.name}"
    gateway.run("radosgw-admin", "user", "create", f"--uid={uid}", f"--display-name={uid}", f"--access-key={uid}",
                "--secret-key=OTHERSECRET")
    everything = f"arn:aws:s3:::{w.bucket.name}"
    owner = {"Effect": "Allow", "Principal": {"AWS": ["arn:aws:iam:::user/test"]}, "Action": "s3:*",
             "Resource": [everything, everything + "/*"]}
    policy = copy.deepcopy(policy)
    try:
        for statement in policy["Statement"]:
            statement["Principal"] = {"AWS": [f"arn:aws:iam:::user/{uid}"]}
            if isinstance(statement["Action"], list):
                # Ceph 16 does not know the verb, and refuses a policy that names it.
                statement["Action"] = [one for one in statement["Action"] if one != "s3:GetObjectAttributes"]
        policy["Statement"].append(owner)
        w.bucket.request("PUT", query={"policy": ""}, body=json.dumps(policy).encode())
        yield {"AWS_ACCESS_KEY_ID": uid, "AWS_SECRET_ACCESS_KEY": "OTHERSECRET"}
    finally:
        # What the user has written belongs to the user; others still have to read it.
        policy["Statement"] = [owner]
        w.bucket.request("PUT", query={"policy": ""}, body=json.dumps(policy).encode())
        gateway.run("radosgw-admin", "user", "rm", f"--uid={uid}")


def refused(bucket, method, environment, where):
    """The user of this environment may read the pointer, and not do that to it."""
    key = "hosts/alpha/subvol/data/current.json"
    other = s3.Bucket(bucket.endpoint, bucket.name, environment["AWS_ACCESS_KEY_ID"], environment["AWS_SECRET_ACCESS_KEY"])
    other.get(key)
    try:
        other.request(method, key)
    except s3.S3Error as problem:
        assert problem.status == 403, f"{where}: {problem}"
    else:
        raise AssertionError(f"{where}: this policy allows {method}")


def run_block(w, room, block):
    """Raises AssertionError unless the block does what it says."""
    bucket = w.bucket
    full = first_full(bucket)
    if full:
        room.substitutions["20260102T030405Z"] = full
    if block.file:
        room.write(block.file, block.text)
        return
    if block.user:
        policy = json.loads((room.root / f"root/{block.user}.json").read_text(encoding="utf-8"))
        with user(w, block.user, policy) as environment:
            status, said = room.run(block.script(), environment)
            refused(bucket, REFUSED[block.user], environment, block.where)
    elif block.archived:
        with archive.archive_before(bucket.endpoint, "/chunk-", polls=1) as (glacier, slow):
            status, said = room.run(block.script(), {"AWS_ENDPOINT_URL": slow, "BTRFS_TO_S3_S3_ENDPOINT_URL": slow})
            assert glacier.posted, f"{block.where}: nothing was requested from the archive\n{said}"
    else:
        status, said = room.run(block.script())
    assert status == block.status, f"{block.where}: exit status {status}, not {block.status}\n{block.text}--\n{said}"


def failures_are_seen(w, room):
    """A block whose first command fails, and one that ends otherwise than it says, are failures."""
    for text, status in (("false\ntrue\n", 0), ("false | true\n", 0), ("true\n", 5)):
        try:
            run_block(w, room, documents.Block("a block that fails", "sh", text, status=status))
        except AssertionError:
            continue
        raise AssertionError(f"{text!r} was taken for a block that ends with status {status}")


def a_spoiled_chunk_is_not_received(w, room, device, blocks):
    """format.md's recipe as somebody pastes it, into a shell that goes on after errors: it ends before `btrfs receive`."""
    make, chain, *_, receive = [block for block in blocks if not block.why_not and not block.archived and
                                any(word in block.text for word in ("mkfs.btrfs", "chain", "btrfs receive"))]
    assert "mkfs.btrfs" in make.text and "current.json" in chain.text and "btrfs receive" in receive.text
    key = json.loads(w.bucket.get(min(key for key in w.bucket.list() if "/subvol/data/full/manifest-" in key)))["chunks"][0]["key"]
    body = w.bucket.get(key)

    def pasted(block):
        room.write("/root/pasted", block.script())
        return room.run("sh pasted")

    try:
        clear(room, device)
        room.must(make.text + "rm -rf restore")
        for spoiled in (body[:-1] + bytes([body[-1] ^ 1]), None):
            assert pasted(chain)[0] == 0
            if spoiled is None:
                w.bucket.delete(key)
            else:
                w.bucket.put(key, spoiled)
            status, said = pasted(receive)
            assert status == 1 and "NOT restored" in said, f"{receive.where}: exit status {status}\n{said}"
            left = room.must("find /mnt -mindepth 1 -maxdepth 2").split()
            assert left == ["/mnt/received"], f"{receive.where}: after a spoiled chunk there is {left}\n{said}"
            room.must("rmdir /mnt/received")
    finally:
        w.bucket.put(key, body)
    pointer = "hosts/alpha/subvol/data/current.json"
    body = w.bucket.get(pointer)
    w.bucket.delete(pointer)
    try:
        status, said = pasted(chain)
    finally:
        w.bucket.put(pointer, body)
    assert status == 1 and "NO chain" in said and room.run("[ ! -e restore/chain ]")[0] == 0, said


def clear(room, device):
    """What a document has mounted at /mnt goes, and the device is empty again."""
    room.must("while mountpoint -q /mnt; do umount /mnt; done")
    room.must(f"wipefs -qa {device}")


@case
def commands_of_the_documents_run(w):
    names = ["README.md", *sorted(f"docs/{path.name}" for path in (SOURCES / "docs").glob("*.md"))]
    missing = [name for name in ("/usr/bin/aws", "/usr/bin/jq", "/usr/bin/curl") if not pathlib.Path(name).exists()]
    missing += [name for name in ("unshare", "nsenter", "pivot_root") if not shutil.which(name)]
    if missing:
        print(f"skipped: not installed: {' '.join(missing)}")
        sys.exit(77)
    bucket = w.bucket
    environment = {name: value for name, value in w.tool.environment.items() if name.startswith("AWS_")}
    environment.update(AWS_ENDPOINT_URL=bucket.endpoint, AWS_REGION="us-east-1")
    directory = w.directory / "room"
    directory.mkdir()
    skipped = []
    with btrfs.filesystem(directory, "6G") as root, documents.empty_device(directory, "4G") as device, \
            documents.room(root, w.tool.binary, environment) as room:
        room.substitutions = {
            "https://my-backups.s3.eu-central-1.amazonaws.com": f"{bucket.endpoint}/{bucket.name}",
            "my-backups": bucket.name, "/dev/nvme0n1p2": device}
        room.must("mkdir /srv && btrfs subvolume create /srv/data")
        data = room.root / "srv/data"
        dataset.seed(data, large_mib=16, small_files=100)
        failures_are_seen(w, room)
        for turn, name in enumerate(names):
            clear(room, device)
            for block in documents.blocks((SOURCES / name).read_text(encoding="utf-8"), name):
                if block.why_not:
                    skipped.append(f"{block.where}: {block.why_not}")
                    continue
                run_block(w, room, block)
                print(f"{block.where}: {'written' if block.file else 'run'}", flush=True)
            if name in RESTORED:
                found = compare.differences(data, room.root / RESTORED[name].lstrip("/"))
                assert not found, f"{name}: {len(found)} differences, the first: {found[0]}"
            if name == "docs/format.md":
                a_spoiled_chunk_is_not_received(w, room, device,
                                                documents.blocks((SOURCES / name).read_text(encoding="utf-8"), name))
            # The next one finds a longer chain.
            dataset.mutate(data, turn + 2)
            room.must("btrfs_to_s3 backup --once --subvolume data")
        clear(room, device)
    print(f"{len(skipped)} blocks are not run:\n" + "\n".join(skipped))
