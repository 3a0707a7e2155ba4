"""The commands that the documents show, and a room to run them in where everything is as the documents have it.

Fenced blocks of `sh` (and of `console`: there, lines after "$ " or "# ") are run, in order. A comment right before a
block changes that:

  <!-- not run: WHY -->                          for what cannot be run here
  <!-- run: exit status 5 -->                    ends with this status, not with 0
  <!-- run: archived chunks -->                  with the chunks in GLACIER; both: "archived chunks, exit status 5"
  <!-- run: as backup -->                        by a user with the rights of the policy in /root/backup.json alone
  <!-- file: /etc/btrfs_to_s3/config.toml -->    not commands: the file's content, also of blocks of other languages

The room: a root file system of its own, Btrfs, in namespaces of its own, with this machine's /usr. What the documents
name is replaced as `Room.as_here` says, and nothing else.
"""
import contextlib
import dataclasses
import json
import pathlib
import re
import subprocess
import tempfile
import time
import tomllib

RUN = ("sh", "console")
FENCE = re.compile(r"^(\s*)(`{3,})\s*(\w*)\s*$")
MARK = re.compile(r"<!-- (not run|run|file): (.+) -->$")


class DocumentError(Exception):
    pass


@dataclasses.dataclass
class Block:
    where: str  # README.md:27
    language: str
    text: str
    why_not: str = ""
    status: int = 0
    archived: bool = False
    user: str = ""
    file: str = ""

    def script(self):
        """What a shell is given."""
        if self.language != "console":
            return self.text
        return "".join(line[2:] + "\n" for line in self.text.splitlines() if line[:2] in ("$ ", "# "))


def mark(block, comment):
    """Applies a comment to the block that follows it."""
    found = MARK.match(comment)
    if not found:
        return
    kind, text = found.groups()
    if kind == "not run":
        block.why_not = text
    elif kind == "file":
        block.file = text
    else:
        for word in text.split(", "):
            status = re.fullmatch(r"exit status (\d+)", word)
            if status:
                block.status = int(status[1])
            elif word == "archived chunks":
                block.archived = True
            elif re.fullmatch(r"as [a-z]+", word):
                block.user = word.removeprefix("as ")
            else:
                raise DocumentError(f'{block.where}: "{word}" is no way to run a block')


def blocks(text, name):
    """The blocks to run or to write, in order. Others are read by their language where there is a reader."""
    found, before, block, fence = [], "", None, ""
    for number, line in enumerate(text.splitlines(), 1):
        edge = FENCE.match(line)
        if block is None:
            if edge:
                block, fence = Block(f"{name}:{number}", edge[3], ""), edge[1] + edge[2]
                mark(block, before)
            elif line.strip():
                before = line.strip()
        elif edge and not edge[3] and line.rstrip() == fence:
            if block.why_not and block.language not in RUN:
                raise DocumentError(f"{block.where}: blocks of this language are not run anyway")
            if block.language in RUN and not block.script().strip():
                raise DocumentError(f"{block.where}: a block to run without a command")
            parse(block)
            if block.language in RUN or block.file:
                found.append(block)
            block, before = None, ""
        else:
            block.text += line.removeprefix(fence.removesuffix("`" * fence.count("`"))) + "\n"
    if block is not None:
        raise DocumentError(f"{block.where}: this block does not end")
    return found


def parse(block):
    reader = {"toml": tomllib.loads, "json": json.loads}.get(block.language)
    if reader:
        try:
            reader(block.text)
        except ValueError as problem:
            raise DocumentError(f"{block.where}: {problem}") from problem


# Makes $1, a mounted Btrfs, the root of this namespace, and stays. Propagation is private first: nothing shows outside.
ROOM = r"""
set -eu
root=$1
mount --make-rprivate /
cd "$root"
mkdir -p proc sys dev run/lock tmp etc usr var root mnt
ln -s /run/lock run var 2>/dev/null || true
for link in bin sbin lib lib64; do ln -s "usr/$link" "$link"; done
for file in passwd group nsswitch.conf hosts ld.so.cache machine-id mke2fs.conf; do
  if [ -e "/etc/$file" ]; then cp -aL "/etc/$file" etc/; fi
done
[ -s etc/machine-id ] || echo 0123456789abcdef0123456789abcdef >etc/machine-id
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount --rbind /dev dev
mount -t tmpfs tmpfs run
mkdir run/lock
mount --bind /usr usr
mount -o remount,bind,ro usr
mount -t tmpfs tmpfs usr/local
mkdir usr/local/bin
install -m 755 "$2" usr/local/bin/btrfs_to_s3
# The command line of Debian 12 does not know AWS_ENDPOINT_URL yet.
printf '#!/bin/sh\nexec /usr/bin/aws --endpoint-url "$AWS_ENDPOINT_URL" "$@"\n' >usr/local/bin/aws
chmod 755 usr/local/bin/aws
mkdir old
pivot_root . old
umount -l /old
rmdir /old
touch /run/ready
exec sleep 1000000
"""


class Room:
    """Paths in here are those of the documents. `substitutions`: what stands in a document, what is here."""

    def __init__(self, pid, environment):
        self.pid = pid
        self.root = pathlib.Path(f"/proc/{pid}/root")
        self.environment = environment
        self.substitutions = {}

    def as_here(self, text):
        for shown, here in self.substitutions.items():
            text = text.replace(shown, here)
        return text

    def run(self, script, environment=None):
        """Status and output of a shell script, in /root. -e: its first failure is its end."""
        variables = [f"{name}={value}" for name, value in {**self.environment, **(environment or {})}.items()]
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "-r", "-w", "/usr/bin/env", "-i", *variables,
                               "bash", "-euo", "pipefail", "-c", "cd /root\n" + self.as_here(script)],
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              errors="replace", check=False, timeout=300)
        return done.returncode, done.stdout

    def must(self, script):
        status, said = self.run(script)
        if status != 0:
            raise RuntimeError(f"{script}: exit status {status}\n{said}")
        return said

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(self.as_here(text), encoding="utf-8")
        file.chmod(mode)


@contextlib.contextmanager
def room(filesystem, binary, environment):
    """Yields a Room whose root is `filesystem` (a btrfs.Filesystem). Its processes and mounts end with it."""
    said = tempfile.TemporaryFile()
    process = subprocess.Popen(["unshare", "--mount", "--pid", "--fork", "--kill-child", "bash", "-c", ROOM, "room",
                                str(filesystem.mount), str(pathlib.Path(binary).resolve())],
                               stdin=subprocess.DEVNULL, stdout=said, stderr=said)
    try:
        deadline, made = time.monotonic() + 60, None
        while made is None or not (made.root / "run/ready").exists():
            if process.poll() is not None or time.monotonic() > deadline:
                said.seek(0)
                raise RuntimeError("the room was not made: " + said.read().decode(errors="replace"))
            words = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text(encoding="ascii").split()
            made = Room(int(words[0]), {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin", "HOME": "/root", "LANG": "C.UTF-8",
                                        **environment}) if words else None
            time.sleep(0.05)
        yield made
    finally:
        # Its first process takes everything in it along.
        process.kill()
        process.wait()
        said.close()


@contextlib.contextmanager
def empty_device(directory, size):
    """A block device with nothing on it."""
    image = pathlib.Path(directory) / "device.img"
    subprocess.run(["truncate", "-s", size, str(image)], check=True)
    device = subprocess.run(["losetup", "--find", "--show", str(image)], capture_output=True, text=True,
                            check=True).stdout.strip()
    try:
        yield device
    finally:
        subprocess.run(["losetup", "--detach", device], capture_output=True, check=False)
        image.unlink()
