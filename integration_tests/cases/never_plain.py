"""Promise 8 against everything that can be set: with recipients, no switch, no variable and no key of the configuration gets
plain text into the bucket. Switches are asked of the program itself, as a shell asks for them; keys are those of
config.example.toml, which a test of the configuration holds to the program's own table. So new ones are tried by themselves."""
import os
import pathlib
import re
import subprocess

from recovery import behind_proxy
from sealing import make_identity
from world import case

EXAMPLE = pathlib.Path(__file__).resolve().parents[2] / "config.example.toml"
CONTENT = b"content-that-nobody-may-see-7f3a91"
NAME = "name-that-nobody-may-see-51c0"
# What is no choice between ways of making a backup: for whom it is sealed, and where the case's own things are.
OF_THE_CASE = {"encryption.recipients", "encryption.recipients_file", "subvolumes.paths", "snapshots.base_dir", "s3.bucket", "s3.prefix",
               "s3.endpoint_url", "s3.region", "global.state_path", "global.lock_path"}


def keys_and_defaults():
    """{"s3.part_size_bytes": "128MiB", ...}"""
    found, table = {}, ""
    for line in EXAMPLE.read_text().splitlines():
        if head := re.fullmatch(r"#?\[([a-z_0-9]+)\]", line):
            table = head[1]
        elif rule := re.fullmatch(r"#?([a-z_0-9]+) = (.*)", line):
            found[f"{table}.{rule[1]}"] = rule[2].strip('"')
    return found


def candidates(w, key, default):
    """Texts that the key may take, by the form of its default; other words are learnt from the program's refusal."""
    if default in ("true", "false"):
        return ["false" if default == "true" else "true"]
    if re.fullmatch(r"\d+", default):
        return ["0", "1", str(2 * int(default))]
    if re.fullmatch(r"\d+[A-Za-z]+", default):
        return ["5MiB", "64MiB"] if default.endswith("B") else ["1h"]
    if default.startswith("["):
        return ["[]", '["/bin/true"]']
    if default.startswith("/") or "~" in default or key.endswith(("_file", "_dir", "_path", "textfile")):
        return [str(w.directory / ("as-" + key))]
    return ["no-such-word", ""]


def words_in(refusal):
    """The choices of "must be one of auto, crc32, none"."""
    listed = re.search(r"must be one of ([\w:.-]+(?:, (?:or )?[\w:.-]+)*)", refusal)
    return re.split(r", (?:or )?", listed[1]) if listed else []


def plain_in(body):
    return next((word for word in (b"btrfs-stream", CONTENT, NAME.encode()) if word in body), None)


class Watched:
    """The store behind a proxy that looks at every body."""

    def __init__(self, w, between):
        self.w, self.shown, self.bodies = w, [], 0
        between.watch = self.look

    def look(self, method, path, _query, body):
        self.bodies += 1 if "/chunk-" in path and method == "PUT" else 0
        if found := plain_in(body):
            self.shown.append((method, path, found))

    def run(self, *arguments, environment=None):
        """Whether chunks were sent; nothing of them may be plain."""
        before = self.bodies
        outcome = self.w.tool.run(*arguments, environment=environment)
        assert not self.shown, (arguments, environment, self.shown, outcome)
        return outcome, self.bodies > before


def switches(binary, environment, *command):
    """What a shell offers behind these words: words, and what stands behind each."""
    done = subprocess.run([binary, "complete", "--", *command, "--"], env=environment, check=True, capture_output=True, text=True,
                          timeout=60)
    return [line.split("\t")[0] for line in done.stdout.splitlines() if line.startswith("--")]


def prepared(w):
    (w.data / NAME).write_bytes(CONTENT * 2000)
    w.tool.tables["global"].update(spool_dir=str(w.directory / "spool"), spool_size_bytes="64MiB")
    w.tool.tables["s3"]["retry_for"] = "2s"  # with many a value there is no store that answers


@case
def no_key_and_no_variable_gets_plain_text_into_a_bucket_of_sealed_backups(w):
    prepared(w)
    _, recipient = make_identity(w, "identity.txt")
    known = keys_and_defaults()
    assert len(known) > 50 and known.keys() >= OF_THE_CASE, sorted(known)
    tried, sealed = 0, set()
    with behind_proxy(w) as between:
        watched = Watched(w, between)
        # What this looks for is there to be found: without recipients.
        w.expect(0, w.tool.run("backup", "--once", "--full"))
        assert any("/chunk-" in path for _, path, _ in watched.shown), watched.shown
        plain = set(w.bucket.list())
        (chunk,) = (w.bucket.get(key) for key in plain if "/chunk-" in key)
        assert b"btrfs-stream" in chunk and CONTENT in chunk and NAME.encode() in chunk
        watched.shown.clear()
        w.tool.tables["encryption"] = {"recipients": [recipient]}
        for key, default in known.items():
            if key in OF_THE_CASE:
                continue
            variable = "BTRFS_TO_S3_" + key.replace(".", "_").upper()
            values = candidates(w, key, default)
            while values:
                value = values.pop(0)
                outcome, sent = watched.run("backup", "--once", "--full", environment={variable: value})
                tried += 1
                if sent and outcome.status == 0:
                    sealed.add(key)
                if value == "no-such-word" and outcome.status == 2:
                    values += words_in(outcome.stderr)
            table, name = key.split(".")
            if re.fullmatch(r"true|false|\d+", default):
                # And as a key of the file.
                before = dict(w.tool.tables.get(table, {}))
                value = {"true": False, "false": True}.get(default, default)
                w.tool.tables[table] = {**before, name: int(value) if value is default else value}
                outcome, sent = watched.run("backup", "--once", "--full")
                w.tool.tables[table] = before
                tried += 1
        # Recipients themselves: what cannot be used is refused, and nothing is sent.
        for variable, value in (("BTRFS_TO_S3_ENCRYPTION_RECIPIENTS", "age1wrong"),
                                ("BTRFS_TO_S3_ENCRYPTION_RECIPIENTS_FILE", str(w.directory / "none"))):
            outcome, sent = watched.run("backup", "--once", "--full", environment={variable: value})
            assert outcome.status == 2 and not sent, outcome
    print(f"{tried} runs with {len(known) - len(OF_THE_CASE)} keys; backups were made with {len(sealed)} of them")
    assert len(sealed) > len(known) // 2, sorted(set(known) - sealed)
    for key in set(w.bucket.list()) - plain:
        assert not plain_in(w.bucket.get(key)), key


# What a switch takes that wants a value.
VALUES = {"--subvolume": "data", "--config": None, "--log-level": "debug", "--log-format": "json", "--sample": "2", "--max-age": "1h",
          "--manifest-key": None, "--at": "2199-01-01", "--tier": "Bulk", "--download-rate": "50MB", "--region": None, "--from": None,
          "--endpoint-url": None, "--profile": None, "--verify": "none"}


@case
def no_switch_gets_plain_text_into_a_bucket_of_sealed_backups(w):
    prepared(w)
    _, recipient = make_identity(w, "identity.txt")
    w.tool.tables["encryption"] = {"recipients": [recipient]}
    binary, environment = w.tool.binary, w.tool.environment
    made, tried = 0, 0
    with behind_proxy(w) as between:
        watched = Watched(w, between)
        outcome, sent = watched.run("backup", "--once")
        assert sent and outcome.status == 0, outcome
        for command in (("backup",), ("doctor",), ("prune",), ("plan",), ("verify",)):
            offered = switches(binary, environment, *command)
            assert len(offered) > 5, (command, offered)
            for switch in offered:
                value = VALUES.get(switch, "")
                if value is None or switch in ("--help", "--version"):
                    continue
                (w.data / NAME).write_bytes(CONTENT * 2000 + os.urandom(8))
                always = ("--once",) if command == ("backup",) and switch != "--once" else ()
                arguments = (*command, *always, switch, *([value] if switch in VALUES else []))
                outcome, sent = watched.run(*arguments)
                if outcome.status == 2 and "requires" in outcome.stderr:
                    raise AssertionError(f"name what {switch} takes in VALUES: {outcome}")
                tried += 1
                made += sent
    print(f"{tried} switches, {made} of them with a backup")
    assert made >= 6, made
    for key in w.bucket.list():
        assert not plain_in(w.bucket.get(key)), key
