"""Cases of what people see on a terminal: captured from tmux at 80x24 and 160x40, compared with expected/screens/.

run.py --update writes those files anew; look at each of them before it is committed.
"""
import contextlib
import datetime
import json
import pathlib
import re
import subprocess
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


# Log lines may be longer than the screen is wide, and wrap: of these, what they begin with.
LOGGED = r"^(YYYY-MM-DDThh:mm:ssZ [A-Z]+ .*event=\S+) .*"


def settle(w, shown, name, *more):
    """Compares the screen with its file; first, that nothing was too long for a line."""
    text = shown.text(joined=True)
    for pattern, replacement in (*FIELDS, *more):
        text = re.sub(pattern, replacement, text)
    text = re.sub(LOGGED, r"\1 ...", text, flags=re.MULTILINE)
    text = re.sub(r"^.* event=progress \.\.\.\n", "", text, flags=re.MULTILINE)  # each 30 s, on a slow machine
    path = EXPECTED / f"{name}-{shown.columns}.txt"
    print(f"== {path.name}\n{text}")
    wide = [line for line in text.splitlines() if len(line) > shown.columns]
    assert not wide, f"longer than the screen is wide: {wide}"
    if w.update:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
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


def screen(w, columns, *programs, environment=None, prepared=""):
    """A shell that finds `programs` (files, linked) before all others; its directory has host.toml."""
    directory = w.directory / "screens"
    folder = w.directory / ("bin-" + uuid.uuid4().hex[:8])
    directory.mkdir(exist_ok=True)
    folder.mkdir()
    (folder / "btrfs_to_s3").symlink_to(pathlib.Path(w.tool.binary).resolve())
    for program in programs:
        (folder / program.name).symlink_to(program)
    (directory / "host.toml").write_text(tool.toml(w.tool.tables), encoding="utf-8")
    return tmux.screen(directory, columns, w.mount, {**(environment or w.tool.environment), "TZ": "UTC0",
                                                     "PATH": f"{folder}:{w.tool.environment['PATH']}"}, prepared)


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
SIZES = (r"\d+\.\d (?=[KMG]iB)", same_width("#"))


@case
def screens_of_list_status_and_plan_are_as_expected(w):
    with played_store(w) as store:
        fill(w, store)
        for columns in tmux.ROWS:
            for name, command, rules in (
                    ("list", "list", ()), ("status", "status", ()),
                    ("status-ok", "status --subvolume data", ()),
                    ("plan", "plan", (SIZES,))):
                with screen(w, columns) as shown:
                    shown.type(f"btrfs_to_s3 {command} --config host.toml")
                    shown.wait_for_prompt()
                    settle(w, shown, name, *rules)


def waiting(w, verb, count):
    """A `btrfs` whose stream stops in the middle, after `count` bytes, until the file `go-on` is there; both."""
    go_on = w.directory / "go-on"
    go_on.unlink(missing_ok=True)
    halves = f"{{ head -c {count}; while [[ ! -e {go_on} ]]; do sleep 0.05; done; cat; }}"
    fake = pathlib.Path(w.fake_btrfs("exit 9")["PATH"].split(":")[0]) / "btrfs"
    pipe = f'"$REAL" "$@" | {halves}' if verb == "send" else f'{halves} | "$REAL" "$@"'
    text = fake.read_text().split("if [[", 1)[0]
    fake.write_text(f'{text}if [[ $1 == {verb} ]]; then\n{pipe}\nexit $?\nfi\nexec "$REAL" "$@"\n')
    return fake, go_on


# ... and figures that depend on time, whose width varies, for they end a line.
RATE = (r"\d+(\.\d)? ([KMG]i)?B/s", lambda _: "<rate>")
LEFT = (r"(\d+ h )?(\d+ min )?\d+ (s|min) left", lambda _: "<time> left")
AHEAD = (r"\d+ parts? in memory", lambda _: "<n> parts in memory")  # how far a download has run ahead
ARRIVED = (r"(?<=restoring data: )\d\d\.\d (MiB of 60\.0 MiB), \d\d %", r"##.# \1, ## %")
TIMED = (RATE, LEFT, AHEAD)


def stop(shown, modes):
    """Presses Ctrl-C; the terminal is afterwards as it was, with its cursor."""
    shown.keys("C-c")
    shown.wait_for_prompt()
    assert shown.tmux("display-message", "-p", "#{cursor_flag} #{alternate_on}") == "1 0\n"
    assert shown.modes() == modes, (shown.modes(), modes)


def new_data(w):
    random_file(w.data / "random", 60 * MIB)
    btrfs.run("btrfs", "filesystem", "sync", str(w.mount))


@case
def screens_of_backups_are_as_expected(w):
    w.tool.tables["snapshots"]["base_dir"] = "/srv/snapshots"
    w.tool.tables["subvolumes"]["paths"] = ["/srv/data"]
    w.tool.tables["s3"].update(chunk_size_bytes="200GiB")  # parts of 5 MiB alone
    for columns in tmux.ROWS:
        for stopped in (False, True):
            new_data(w)
            fake, go_on = waiting(w, "send", 31 * MIB)
            with screen(w, columns, fake) as shown:
                modes = shown.modes()
                shown.type("btrfs_to_s3 backup --once --config host.toml")
                shown.wait_for_line("backing up data: 30.0 MiB")
                if stopped:
                    stop(shown, modes)
                    settle(w, shown, "backup-stopped")
                else:
                    settle(w, shown, "backup-half-way", *TIMED)
                    go_on.touch()
                    shown.wait_for_prompt()
                    settle(w, shown, "backup-end")
        with screen(w, columns) as shown:
            shown.type("btrfs_to_s3 backup --config host.toml")
            shown.wait_for_prompt()
            settle(w, shown, "backup-resumed")


@case
def screens_of_restores_are_as_expected(w):
    w.tool.tables["s3"].update(chunk_size_bytes="200GiB")  # parts of 5 MiB alone
    new_data(w)
    w.backup()
    w.tool.tables["snapshots"]["base_dir"] = "/srv/snapshots"
    w.tool.tables["subvolumes"]["paths"] = ["/srv/data"]
    for columns in tmux.ROWS:
        for stopped in (False, True):
            fake, go_on = waiting(w, "receive", 31 * MIB)
            with screen(w, columns, fake) as shown:
                modes = shown.modes()
                target = "/srv/two" if stopped else "/srv/new"
                shown.type(f"btrfs_to_s3 restore --subvolume data --target {target} --config host.toml")
                # What has arrived counts: the parts in memory, too, behind which `btrfs receive` stands.
                shown.wait_for_line(r"restoring data: (3[5-9]|[45]\d)\.0 MiB")
                if stopped:
                    stop(shown, modes)
                    settle(w, shown, "restore-stopped")
                else:
                    settle(w, shown, "restore-half-way", *TIMED, ARRIVED)
                    go_on.touch()
                    shown.wait_for_prompt()
                    settle(w, shown, "restore-end")
        btrfs.delete_subvolume(w.mount / "new")


# A wait for the store: what is cut at the screen's edge, and when it will be given up.
ATTEMPT = (r"attempt \d+ \(given up in \d+ s\)", "attempt # (given up in ## s)")
PLACE = (r"(?<=bucket case-)[0-9a-f]+|(?<=127\.0\.0\.1:)\d+", lambda found: "#" * len(found[0]))


class Balancer:
    """Stands before a store that is away."""

    def answer(self, *_):
        return 503, {"Content-Type": "text/html", "Server": "nginx"}, b"<html><body>503</body></html>"

    def headers(self, *_):
        return {}


# Keys are new each time.
RECIPIENT = (r"age1[02-9ac-hj-np-z]{58}", lambda _: "age1" + "r" * 58)
FINGERPRINT = (r"SHA256:[A-Za-z0-9+/]{43}", lambda _: "SHA256:" + "f" * 43)


@case
def screens_of_keys_are_as_expected(w):
    identity, sealed, recipients = (w.mount / name for name in ("identity.txt", "sealed.txt", "recipients"))
    for columns in tmux.ROWS:
        with screen(w, columns) as shown:
            shown.type("btrfs_to_s3 keys generate /srv/identity.txt")
            shown.wait_for_prompt()
            settle(w, shown, "keys-generate", RECIPIENT, FINGERPRINT)
        with screen(w, columns) as shown:
            modes = shown.modes()
            shown.type("btrfs_to_s3 keys generate --passphrase /srv/sealed.txt")
            for question in ("Passphrase", "The same again"):
                shown.wait_for_line(question)
                shown.tmux("send-keys", "-l", "correct horse")
                shown.keys("Enter")
            shown.wait_for_prompt()
            assert shown.modes() == modes, (shown.modes(), modes)
            settle(w, shown, "keys-generate-passphrase", RECIPIENT, FINGERPRINT)
        # Of an identity, and of a list of recipients.
        listed = subprocess.run([w.tool.binary, "keys", "show", str(identity)], check=True, capture_output=True, text=True,
                                timeout=60).stdout
        recipients.write_text(re.search(RECIPIENT[0], listed)[0] + "\n", encoding="ascii")
        with screen(w, columns) as shown:
            shown.type("btrfs_to_s3 keys show /srv/identity.txt /srv/recipients")
            shown.wait_for_prompt()
            settle(w, shown, "keys-show", RECIPIENT, FINGERPRINT)
        identity.unlink()
        sealed.unlink()


@case
def screens_of_waiting_for_the_store_are_as_expected(w):
    w.tool.tables["snapshots"]["base_dir"] = "/srv/snapshots"
    w.tool.tables["subvolumes"]["paths"] = ["/srv/data"]
    with proxy.proxy_to(w.bucket.endpoint) as between:
        between.player = Balancer()
        for name, endpoint in (("waiting-away", "http://127.0.0.1:9"), ("waiting-balancer", between.endpoint)):
            w.tool.tables["s3"]["endpoint_url"] = endpoint
            for columns in tmux.ROWS:
                with screen(w, columns) as shown:
                    modes = shown.modes()
                    shown.type("btrfs_to_s3 list --config host.toml")
                    shown.wait_for_line("waiting for the store: attempt [2-9] \\(given up in \\d\\d s\\): ")
                    settle(w, shown, name, PLACE, ATTEMPT)
                    # A stop is heard at once, and leaves the terminal as it was.
                    stop(shown, modes)
