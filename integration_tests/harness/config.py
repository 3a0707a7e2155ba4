"""The harness's configuration: TOML files, checked key by key, and the tool's configuration made from them.

Files are merged table by table, later ones over earlier ones. A file may begin with `base = "other.toml"` (beside it),
which is read before it, unless an earlier file already stands for it. Paths are absolute, or relative to
`integration_tests/`, and lie below paths.run: nothing else is touched.
"""
import difflib
import json
import os
import pathlib
import re
import tomllib

from .assertions import HarnessError

ROOT = pathlib.Path(__file__).resolve().parent.parent
MIB = 1 << 20
CLASSES = ("STANDARD", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "REDUCED_REDUNDANCY", "GLACIER_IR",
           "GLACIER", "DEEP_ARCHIVE")
ARCHIVE_CLASSES = ("GLACIER", "DEEP_ARCHIVE")

# table: {key: (type, default)}; no default: the key must be given.
REQUIRED = object()
KEYS = {
    "tool": {"cmd": (list, REQUIRED), "config_flag": (str, "--config"), "local_manifest": (bool, True)},
    "paths": {name: (str, REQUIRED) for name in
              ("run", "logs", "scratch", "lock", "image", "mount", "data", "snapshots")},
    "btrfs": {"loopback_size": (str, "4GiB"), "mount_options": (str, "compress=zstd"),
              "subvolumes": (list, REQUIRED)},
    "aws": {"region": (str, REQUIRED), "bucket": (str, REQUIRED), "prefix": (str, REQUIRED),
            "storage_class_chunks": (str, "STANDARD"), "storage_class_manifest": (str, "STANDARD"),
            "sse": (str, "AES256"), "endpoint_url": (str, "")},
    "backup": {"chunk_size_mib": (int, REQUIRED), "concurrency": (int, 2), "retention_snapshots": (int, 2)},
    "dataset": {"size_mib": (int, 24), "small_files": (int, 300), "seed": (int, 1)},
}
# What the earlier harness called them: (table, key): (type, {today's key: its value of the earlier one}).
EARLIER = {("paths", earlier): (str, {key: str}) for earlier, key in (
    ("run_dir", "run"), ("logs_dir", "logs"), ("scratch_dir", "scratch"), ("lock_dir", "lock"), ("btrfs_image", "image"),
    ("mount_dir", "mount"), ("data_dir", "data"), ("snapshots_dir", "snapshots"))}
EARLIER["btrfs", "loopback_size_gib"] = (int, {"loopback_size": "{}GiB".format})
EARLIER["aws", "storage_class"] = (str, {"storage_class_chunks": str, "storage_class_manifest": str})
# Handed to the tool as they are.
PASSED_ON = ("restore", "global", "s3")
# Keys of those that are paths: below paths.run like all others.
TOOL_PATHS = {("global", "state_path"), ("global", "lock_path"), ("global", "spool_dir"),
              ("restore", "target_base_dir")}
POSITIVE = {("backup", "chunk_size_mib"), ("backup", "concurrency"), ("backup", "retention_snapshots"),
            ("dataset", "size_mib"), ("dataset", "small_files")}


class Table:
    """The keys of one table as attributes."""

    def __init__(self, values):
        self.__dict__.update(values)


def read(path):
    try:
        with open(path, "rb") as file:
            return tomllib.load(file)
    except OSError as problem:
        raise HarnessError(f"{path}: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise HarnessError(f"{path}: not valid TOML: {problem}") from problem


def merged(below, above):
    """Table by table, key by key."""
    result = {name: dict(table) for name, table in below.items()}
    for name, table in above.items():
        if not isinstance(table, dict):
            raise HarnessError(f"{name} is not in a table; the tables are "
                               + ", ".join(f"[{one}]" for one in (*KEYS, *PASSED_ON)))
        result.setdefault(name, {}).update(table)
    return result


def modern(content):
    """With today's words for what the earlier harness called otherwise. One class for all gives way to those of each
    kind; any other thing may have one name in a file."""
    for (table, earlier), (kind, keys) in EARLIER.items():
        within = content.get(table)
        if not isinstance(within, dict) or earlier not in within:
            continue
        value = within.pop(earlier)
        if type(value) is not kind:
            raise HarnessError(f"{table}.{earlier} = {value!r} must be of type {kind.__name__}")
        for key, made in keys.items():
            if key in within and len(keys) == 1:
                raise HarnessError(f"{table}.{earlier} is the earlier name of {table}.{key}, which is there too")
            within.setdefault(key, made(value))
    return content


def read_merged(paths):
    tables = {}
    for index, path in enumerate(pathlib.Path(path) for path in paths):
        content = read(path)
        base = content.pop("base", None)
        if base is not None and index == 0:
            if not isinstance(base, str):
                raise HarnessError(f"{path}: base = {base!r} must be the name of a file beside it")
            tables = read_merged([path.parent / base])
        try:
            tables = merged(tables, modern(content))
        except HarnessError as problem:
            raise HarnessError(f"{path}: {problem}") from problem
    return tables


def nearest(name, names):
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean {close[0]}?" if close else f"; there is {', '.join(names)}"


def checked(tables):
    """{table: {key: value}} with defaults; an unknown name or a wrong type is an error."""
    result = {}
    for name in tables:
        if name not in KEYS and name not in PASSED_ON:
            raise HarnessError(f"[{name}] is no table of this file{nearest(name, [*KEYS, *PASSED_ON])}")
    for name, keys in KEYS.items():
        given = tables.get(name, {})
        for key in given:
            if key not in keys:
                raise HarnessError(f"{name}.{key} is no key{nearest(key, list(keys))}")
        values = {}
        for key, (kind, default) in keys.items():
            value = given.get(key, default)
            if value is REQUIRED:
                raise HarnessError(f"{name}.{key} is missing")
            # bool is an int to Python.
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise HarnessError(f"{name}.{key} = {value!r} must be of type {kind.__name__}")
            if (name, key) in POSITIVE and value < 1:
                raise HarnessError(f"{name}.{key} = {value} must be at least 1")
            values[key] = value
        result[name] = values
    for name in PASSED_ON:
        result[name] = dict(tables.get(name, {}))
    return result


def bytes_of(text):
    """"512M", "4GiB": bytes, by powers of 1,024."""
    match = re.fullmatch(r"(\d+) *([KMGT])(?:i?B)?", text)
    if not match:
        raise HarnessError(f"btrfs.loopback_size = {text!r} must be like \"4GiB\"")
    return int(match[1]) << {"K": 10, "M": 20, "G": 30, "T": 40}[match[2]]


def absolute(text):
    """Paths are relative to integration_tests/; the earlier harness's, to the folder above, begin with that name."""
    return pathlib.Path(os.path.normpath((ROOT.parent if text.startswith("integration_tests/") else ROOT) / text))


class Settings:
    def __init__(self, tables, environment=None):
        self.tables = checked(tables)
        for name in KEYS:
            setattr(self, name, Table(self.tables[name]))
        self.paths = Table({key: self._path("paths", key, text) for key, text in self.tables["paths"].items()})
        for table, key in TOOL_PATHS:
            if key in self.tables[table]:
                self.tables[table][key] = str(self._path(table, key, self.tables[table][key]))
        for key in ("data", "snapshots"):
            if self.paths.mount not in getattr(self.paths, key).parents:
                raise HarnessError(f"paths.{key} must lie below paths.mount: snapshots are made on one filesystem")
        names = self.btrfs.subvolumes
        bad = [name for name in names if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z0-9._-]+", name)
               or name in (".", "..")]
        if bad or not names or len(set(names)) != len(names):
            raise HarnessError(f"btrfs.subvolumes = {names!r} must be different names, at least one")
        self.image_bytes = bytes_of(self.btrfs.loopback_size)
        self._check_aws()
        self.command = self._command(environment or {})

    def _path(self, table, key, text):
        if not isinstance(text, str) or not text:
            raise HarnessError(f"{table}.{key} = {text!r} must be a path")
        path, run = absolute(text), absolute(self.tables["paths"]["run"])
        if path != run and run not in path.parents:
            raise HarnessError(f"{table}.{key} = {text} must lie below paths.run ({run}): nothing else is touched")
        if (table, key) == ("paths", "run") and len(run.parts) < 3:
            raise HarnessError(f"paths.run = {text} must be a directory of its own: much below it is deleted")
        return path

    def _check_aws(self):
        if not self.aws.bucket:
            raise HarnessError("aws.bucket is empty: the name of a bucket that exists")
        prefix = self.aws.prefix.strip("/")
        if not prefix or any(part in ("", ".", "..") for part in prefix.split("/")):
            raise HarnessError(f"aws.prefix = {self.aws.prefix!r} must be names between single slashes, at least one: "
                               "everything below it is deleted in the end")
        self.aws.prefix = prefix
        for key in ("storage_class_chunks", "storage_class_manifest"):
            if getattr(self.aws, key) not in CLASSES:
                raise HarnessError(f"aws.{key} = {getattr(self.aws, key)!r}{nearest(getattr(self.aws, key), CLASSES)}")
        if self.aws.storage_class_manifest in ARCHIVE_CLASSES:
            raise HarnessError(f"aws.storage_class_manifest = {self.aws.storage_class_manifest!r}: manifests must be "
                               "readable at once")
        if self.aws.endpoint_url and not re.match(r"https?://[^/]", self.aws.endpoint_url):
            raise HarnessError(f"aws.endpoint_url = {self.aws.endpoint_url!r} must be a URL; \"\" is AWS")

    def _command(self, environment):
        """BTRFS_TO_S3_CMD, a JSON array, replaces tool.cmd. A program with a slash is found from integration_tests/."""
        source, command = "tool.cmd", self.tool.cmd
        if environment.get("BTRFS_TO_S3_CMD"):
            source = "BTRFS_TO_S3_CMD"
            try:
                command = json.loads(environment["BTRFS_TO_S3_CMD"])
            except json.JSONDecodeError as problem:
                raise HarnessError(f"BTRFS_TO_S3_CMD is no JSON: {problem}; "
                                   "write it like [\"/usr/bin/btrfs_to_s3\"]") from problem
        if not isinstance(command, list) or not command or not all(isinstance(one, str) and one for one in command):
            raise HarnessError(f"{source} must be an array of strings, like [\"/usr/bin/btrfs_to_s3\"]")
        program = command[0]
        return [os.path.normpath(ROOT / program) if "/" in program else program, *command[1:]]

    def over(self, **tables):
        """These settings with some keys replaced: over(aws={"prefix": "x"})."""
        copy = Settings(merged(self.tables, tables))
        if "tool" not in tables:
            copy.command = self.command
        return copy

    # What follows from the keys.

    def subvolume(self, name):
        return self.paths.data / name

    @property
    def targets(self):
        """Where restores go."""
        return pathlib.Path(self.tables["restore"].get("target_base_dir", self.paths.mount / "restored"))

    @property
    def state(self):
        return pathlib.Path(self.tables["global"].get("state_path", self.paths.run / "state" / "state.json"))

    @property
    def spool(self):
        return pathlib.Path(self.tables["global"].get("spool_dir", self.paths.scratch / "spool"))

    @property
    def lock_file(self):
        return pathlib.Path(self.tables["global"].get("lock_path", self.paths.lock / "lock"))

    def root_of(self, name):
        """The beginning of all keys of a subvolume."""
        return f"{self.aws.prefix}/subvol/{name}/"

    def tool_tables(self, names=None):
        """The tool's configuration for these subvolumes, by default all."""
        s3 = {"bucket": self.aws.bucket, "region": self.aws.region, "prefix": self.aws.prefix,
              "chunk_size_bytes": self.backup.chunk_size_mib * MIB, "concurrency": self.backup.concurrency,
              "storage_class_chunks": self.aws.storage_class_chunks,
              "storage_class_manifest": self.aws.storage_class_manifest, "sse": self.aws.sse}
        if self.aws.endpoint_url:
            s3["endpoint_url"] = self.aws.endpoint_url
        return {
            "global": {**self.tables["global"], "state_path": str(self.state), "lock_path": str(self.lock_file),
                       "spool_dir": str(self.spool)},
            "snapshots": {"base_dir": str(self.paths.snapshots), "retain": self.backup.retention_snapshots},
            "subvolumes": {"paths": [str(self.subvolume(name)) for name in names or self.btrfs.subvolumes]},
            "s3": {**s3, **self.tables["s3"]},
            "restore": {**self.tables["restore"], "target_base_dir": str(self.targets)},
        }
