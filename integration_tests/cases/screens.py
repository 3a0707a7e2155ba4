"""Cases of what people see on a terminal: captured from tmux at 80x24 and 160x40, compared with expected/screens/.

run.py --update writes those files anew; look at each of them before it is committed.
"""
import contextlib
import datetime
import json
import pathlib
import re
import urllib.parse
import uuid

from recovery import random_file
from world import MIB, btrfs, case, proxy, tmux, tool

EXPECTED = pathlib.Path(__file__).resolve().parent.parent / "expected" / "screens"
GIB = 1 << 30
DAY = datetime.timedelta(days=1)
NAMES = ("data", "home", "mail", "virtual-machines", "www")


def same_width(letter):
    return lambda found: re.sub(r"\d", letter, found[0])


# What differs between runs, replaced by something as wide, so that columns stay where they are: ...
FIELDS = (
    (r"\d{8}T\d{6}Z", lambda _: "YYYYMMDDThhmmssZ"),
    (r"\d{4}-\d\d-\d\d([ T])\d\d:\d\d", lambda found: f"YYYY-MM-DD{found[1]}hh:mm"),
    (r"\d{4}-\d\d-\d\d", lambda _: "YYYY-MM-DD"),
    (r"(?<=YYYY-MM-DDThh:mm):\d\d", lambda _: ":ss"),
    (r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", lambda _: "uuuuuuuu-uuuu-uuuu-uuuu-uuuuuuuuuuuu"),
)


def normalised(text, rules):
    for pattern, replacement in rules:
        text = re.sub(pattern, replacement, text)
    return text


def settle(w, shown, name, more=(), wraps=False):
    """Compares the screen with its file; first, that nothing was too long for a line."""
    text = shown.text()
    if not wraps:
        assert text == shown.text(joined=True), f"a line is longer than the screen is wide:\n{text}"
    text = normalised(text, (*FIELDS, *more))
    path = EXPECTED / f"{name}-{shown.columns}.txt"
    if w.update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"== {path.name}\n{text}")
    expected = path.read_text(encoding="utf-8")
    assert text == expected, f"{path.name} differs; expected was\n{expected}"


class Store:
    """Plays a bucket of the sizes and classes that no test has the room for: an answer for a proxy (harness/proxy.py)."""

    def __init__(self):
        self.objects = {}  # key: (size, class, body)

    def put(self, key, body, size=None, stored_as="STANDARD"):
        self.objects[key] = (len(body) if size is None else size, stored_as, body)

    def answer(self, method, path, query, _body):
        key = urllib.parse.unquote(path).removeprefix("/").partition("/")[2]
        asked = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if method == "GET" and not key and asked.get("list-type") == "2":
            return 200, {"Content-Type": "application/xml"}, self.listing(asked.get("prefix", ""),
                                                                          asked.get("delimiter"))
        if method == "GET" and key in self.objects:
            return 200, {"ETag": '"0"'}, self.objects[key][2]
        if method == "GET" and key:
            return 404, {}, b"<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
        return 501, {}, b"<Error><Code>NotImplemented</Code><Message>nobody should ask for this</Message></Error>"

    def headers(self, _method, _path):
        return {}

    def listing(self, prefix, delimiter):
        entries, folders = [], []
        for key, (size, stored_as, _) in sorted(self.objects.items()):
            if not key.startswith(prefix):
                continue
            head, found, _ = key[len(prefix):].partition(delimiter) if delimiter else (key, "", "")
            if found:
                folders.append(prefix + head + delimiter)
            else:
                entries.append(f"<Contents><Key>{key}</Key><LastModified>2026-01-01T00:00:00.000Z</LastModified>"
                               f"<ETag>&quot;0&quot;</ETag><Size>{size}</Size><StorageClass>{stored_as}</StorageClass>"
                               "</Contents>")
        entries += [f"<CommonPrefixes><Prefix>{one}</Prefix></CommonPrefixes>" for one in sorted(set(folders))]
        return ("<?xml version=\"1.0\"?><ListBucketResult><IsTruncated>false</IsTruncated>" + "".join(entries) +
                "</ListBucketResult>").encode()


class History:
    """Backups of one subvolume as its manifests tell them. Its newest snapshot is there."""

    def __init__(self, store, filesystem, name):
        self.store, self.filesystem, self.name = store, filesystem, name
        self.root = f"hosts/alma/subvol/{name}/"
        self.now = datetime.datetime.now(datetime.timezone.utc)
        self.last = None  # (key, UUID)

    def add(self, days_ago, size, stored_as="STANDARD", full=False, lost=False):
        """`lost`: its last chunk is not in the bucket."""
        # Half an hour more: the age is the same for as long as the case runs.
        when = self.now - days_ago * DAY - datetime.timedelta(minutes=30)
        stamp, kind = when.strftime("%Y%m%dT%H%M%SZ"), "full" if full else "incremental"
        chunks = []
        for index, at in enumerate(range(0, size, 200 * GIB)):
            key = f"{self.root}{kind}/chunk-{stamp}-{index}.bin"
            chunks.append({"key": key, "size": min(200 * GIB, size - at), "sha256": "0" * 64, "etag": None})
            self.store.put(key, b"", chunks[-1]["size"], stored_as)
        if lost:
            del self.store.objects[chunks[-1]["key"]]
        snapshot = {"name": f"{self.name}__{stamp}__{'full' if full else 'inc'}", "uuid": str(uuid.uuid4()),
                    "parent_uuid": None}
        snapshot["path"] = f"/srv/snapshots/{snapshot['name']}"
        manifest = {"version": 1, "subvolume": self.name, "kind": kind,
                    "created_at": when.strftime("%Y-%m-%dT%H:%M:%SZ"), "snapshot": snapshot,
                    "parent_manifest": None if full else self.last[0], "chunks": chunks, "total_bytes": size,
                    "chunk_size": 200 * GIB, "s3": {"storage_class": stored_as, "sse": "AES256"}}
        self.last = (f"{self.root}{kind}/manifest-{stamp}.json", manifest)
        self.store.put(self.last[0], json.dumps(manifest).encode())
        return self

    def end(self):
        key, manifest = self.last
        name = manifest["snapshot"]["name"]
        path = self.filesystem.snapshot(self.filesystem.mount / self.name, f"snapshots/{name}")
        shown = btrfs.run("btrfs", "subvolume", "show", str(path))
        manifest["snapshot"]["uuid"] = re.search(r"^\s+UUID:\s+(\S+)", shown, re.MULTILINE)[1]
        self.store.put(key, json.dumps(manifest).encode())
        self.store.put(self.root + "current.json", json.dumps({
            "manifest_key": key, "kind": manifest["kind"], "created_at": manifest["created_at"]}).encode())


def fill(w, store):
    """What the screens of list, status and plan show."""
    for name in NAMES:
        if name != "data":
            w.filesystem.subvolume(name)
        random_file(w.mount / name / "random", 24 * MIB)
    data = History(store, w.filesystem, "data")
    data.add(189, 1229 * GIB, "DEEP_ARCHIVE", full=True).add(182, 3 * GIB + 700 * MIB).add(175, 900 * MIB)
    data.add(8, 1300 * GIB, "GLACIER_IR", full=True).add(1 + 2 / 24, 11 * GIB).end()
    History(store, w.filesystem, "home").add(33, 412 * GIB, "STANDARD_IA", full=True).add(26, 2 * GIB).add(
        19, 5 * GIB, lost=True).add(12, 700 * MIB).end()
    History(store, w.filesystem, "mail").add(40, 38 * GIB + 300 * MIB, "GLACIER_IR", full=True).add(12, 96 * MIB).end()
    random_file(w.mount / "mail" / "new", 15 * MIB)
    btrfs.run("btrfs", "filesystem", "sync", str(w.mount))  # what is not on the disk is not counted
    History(store, w.filesystem, "virtual-machines").add(3, 850 * GIB, full=True).end()
    store.put("hosts/alma/subvol/mail/full/chunk-20250101T010000Z-0.bin", b"", 5 * GIB)
    store.put("hosts/alma/notes.txt", b"notes")


def screen(w, columns, *programs):
    """A shell that finds `programs` (files, linked) before all others; its directory has config.toml."""
    directory = w.directory / "screens"
    folder = w.directory / ("bin-" + uuid.uuid4().hex[:8])
    directory.mkdir(exist_ok=True)
    folder.mkdir()
    (folder / "btrfs_to_s3").symlink_to(pathlib.Path(w.tool.binary).resolve())
    for program in programs:
        (folder / program.name).symlink_to(program)
    (directory / "config.toml").write_text(tool.toml(w.tool.tables), encoding="utf-8")
    return tmux.screen(directory, columns, w.mount, {**w.tool.environment, "TZ": "UTC0",
                                                     "PATH": f"{folder}:{w.tool.environment['PATH']}"})


@contextlib.contextmanager
def played_store(w):
    store = Store()
    with proxy.proxy_to(w.bucket.endpoint) as between:
        between.player = store
        w.tool.tables["s3"].update(bucket="backups", prefix="hosts/alma", endpoint_url=between.endpoint)
        w.tool.tables["snapshots"]["base_dir"] = "/srv/snapshots"
        w.tool.tables["subvolumes"]["paths"] = [f"/srv/{name}" for name in NAMES]
        yield store


# ... of sizes that the filesystem decides the digits, ...
SIZES = ((r"\d+\.\d (?=[KMG]iB)", same_width("#")),)


@case
def screens_of_list_status_and_plan_are_as_expected(w):
    with played_store(w) as store:
        fill(w, store)
        for columns in tmux.ROWS:
            for name, command, rules in (
                    ("list", "list", ()), ("status", "status", ()),
                    ("status-ok", "status --subvolume data", ()),
                    ("plan", "plan", SIZES)):
                with screen(w, columns) as shown:
                    shown.type(f"btrfs_to_s3 {command} --config config.toml")
                    shown.wait_for_prompt()
                    settle(w, shown, name, rules)
