"""A systemd of its own, to run units under: PID, mount and control group namespaces over a root of
tmpfs in which /usr is this machine's, read-only. Everything it makes goes with it."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

INIT = pathlib.Path("/lib/systemd/systemd")
PATH = "PATH=/usr/local/bin:/usr/sbin:/usr/bin"
# Makes the root in $1 and becomes its PID 1. Propagation is private first: nothing shows outside.
SCRIPT = r"""
set -eu
root=$1
mount --make-rprivate /
mount -t tmpfs tmpfs "$root"
cd "$root"
mkdir proc sys dev run run/lock tmp etc usr var var/lib var/log root units srv opt
ln -s /run/lock var/lock
ln -s /run var/run
for link in bin sbin lib lib64; do ln -s "usr/$link" "$link"; done
mount --bind /usr usr
mount -o remount,bind,ro usr
for file in passwd group nsswitch.conf hosts ld.so.cache machine-id; do
  if [ -e "/etc/$file" ]; then cp -aL "/etc/$file" etc/; fi
done
# Without one it would be a first boot.
[ -s etc/machine-id ] || echo 0123456789abcdef0123456789abcdef >etc/machine-id
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount -t tmpfs tmpfs dev
mkdir dev/shm dev/pts
mount -t devpts -o newinstance,ptmxmode=0666 devpts dev/pts
ln -s pts/ptmx dev/ptmx
for node in null zero full random urandom tty; do touch "dev/$node"; mount --bind "/dev/$node" "dev/$node"; done
mount --bind "$2" srv
cp "$3" opt/btrfs_to_s3
for target in sysinit basic shutdown test; do
  printf '[Unit]\nDescription=%s\nDefaultDependencies=no\n' "$target" >"units/$target.target"
done
mkdir old
pivot_root . old
umount -l /old
rmdir /old
# As nspawn does: mounts made for a service (its credentials) show in its own namespace.
mount --make-rshared /
exec env -i container=private PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/units \
  /lib/systemd/systemd --system --unit=test.target --log-target=null --show-status=no
"""


def control_groups():
    """Where version 2 of the control groups is mounted, or None."""
    for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if words[2] == "cgroup2" and "rw" in words[3].split(","):
            return pathlib.Path(words[1])
    return None


def why_not():
    """A reason why this machine cannot do it, or None."""
    if not INIT.exists():
        return "systemd is not installed"
    if not control_groups():
        return "no writable control groups of version 2"
    missing = [name for name in ("unshare", "nsenter", "pivot_root") if not shutil.which(name)]
    return f"not installed: {' '.join(missing)}" if missing else None


class PrivateSystemd:
    """`pid` is its PID 1, seen from here; `root` its root directory, likewise."""

    def __init__(self, pid):
        self.pid = pid
        self.root = pathlib.Path(f"/proc/{pid}/root")

    def run(self, *command, expect=0):
        """Inside, as root. Returns what it printed, stdout and stderr together."""
        # The root last: entering it by descriptor needs none of its programs before.
        done = subprocess.run(["nsenter", "-t", str(self.pid), "-m", "-p", "-C", "-r", "-w",
                               "/usr/bin/env", "-i", PATH, *command], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, timeout=300)
        assert done.returncode == expect, f"{command}: exit status {done.returncode}\n{done.stdout}"
        return done.stdout

    def write(self, path, text, mode=0o644):
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def read(self, path):
        return (self.root / path.lstrip("/")).read_text(encoding="utf-8")


def first_child(process):
    children = pathlib.Path(f"/proc/{process.pid}/task/{process.pid}/children")
    words = children.read_text(encoding="ascii").split()
    return int(words[0]) if words else None


def wait_until(condition, process, what):
    deadline = time.monotonic() + 60
    while True:
        found = condition()
        if found:
            return found
        if process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"the private systemd: {what} did not happen")
        time.sleep(0.05)


def remove_groups(top):
    """The groups of ended processes; the kernel needs a moment to see that they are empty."""
    for _ in range(200):
        for path, _, _ in os.walk(top, topdown=False):
            with contextlib.suppress(OSError):
                os.rmdir(path)
        if not top.exists():
            return
        time.sleep(0.05)
    raise RuntimeError(f"{top} could not be removed")


@contextlib.contextmanager
def private_systemd(filesystem_mount, binary):
    """Yields a PrivateSystemd with `filesystem_mount` at /srv and a copy of `binary` in /opt; units
    belong into /units. Ended, and its control groups removed, whatever happens."""
    group = control_groups() / f"btrfs_to_s3-test-{os.getpid()}"
    directory = tempfile.mkdtemp(prefix="btrfs_to_s3-systemd-")
    group.mkdir()
    process = None
    pid = None
    said = tempfile.TemporaryFile()
    try:
        # The shell joins the group, so that the namespace's root is that group.
        process = subprocess.Popen(
            ["bash", "-c", 'echo $$ >"$0/cgroup.procs"; exec unshare --pid --mount --cgroup --fork --kill-child '
             'bash -c "$1" private_systemd "${@:2}"', str(group), SCRIPT, directory, str(filesystem_mount),
             str(pathlib.Path(binary).resolve())],
            stdin=subprocess.DEVNULL, stderr=said)
        pid = wait_until(lambda: first_child(process), process, "a first process")
        this = PrivateSystemd(pid)
        # Before the new root, the path would be this machine's own systemd.
        wait_until(lambda: (this.root / "units/test.target").exists() and
                   (this.root / "run/systemd/private").exists(), process, "its start")
        yield this
    except BaseException:
        said.seek(0)
        print(said.read().decode(errors="replace"), end="")
        raise
    finally:
        said.close()
        if process is not None:
            # PID 1 of the namespace takes everything in it along; unshare ends with it.
            if pid is not None and process.poll() is None:
                os.kill(pid, 9)
            elif process.poll() is None:
                process.kill()
            process.wait()
        remove_groups(group)
        os.rmdir(directory)
