"""A Btrfs filesystem in an image file, mounted for as long as a `with` block runs."""
import contextlib
import os
import pathlib
import shutil
import subprocess
import time


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout


def make(image, *options):
    """mkfs.btrfs, which looks at all loop devices first, and fails where one of them goes meanwhile."""
    for left in reversed(range(20)):
        try:
            run("mkfs.btrfs", "-q", *options, str(image))
            return
        except subprocess.CalledProcessError as failure:
            if not left or "cannot check mount status" not in failure.stderr:
                raise
            time.sleep(0.05)


def why_not():
    """A reason why this machine cannot do it, or None."""
    if os.geteuid() != 0:
        return "not root"
    for program in ("mkfs.btrfs", "btrfs", "losetup", "mount"):
        if not shutil.which(program):
            return f"{program} is not installed"
    if not os.path.exists("/dev/loop-control"):
        return "no loop devices"
    if "btrfs" not in pathlib.Path("/proc/filesystems").read_text(encoding="ascii"):
        if subprocess.run(["modprobe", "btrfs"], capture_output=True, check=False).returncode != 0:
            return "the kernel has no Btrfs"
    return None


def snapshot(source, path, writable=False):
    run("btrfs", "subvolume", "snapshot", *([] if writable else ["-r"]), str(source), str(path))


def delete_subvolume(path):
    run("btrfs", "subvolume", "delete", str(path))


def is_read_only(path):
    """Raises CalledProcessError for what is no subvolume."""
    return run("btrfs", "property", "get", "-ts", str(path), "ro").strip() == "ro=true"


def attach(image, mount, size, options):
    """Makes a filesystem of `size` (as truncate writes it) in `image` and mounts it."""
    mount.mkdir(parents=True, exist_ok=True)
    run("truncate", "-s", str(size), str(image))
    make(image)
    device = run("losetup", "--find", "--show", str(image)).strip()
    try:
        run("mount", "-o", options, device, str(mount))
    finally:
        # Once mounted it goes with the last unmount, even when nobody is left to ask for it.
        run("losetup", "--detach", device)
    return Filesystem(mount, image, device)


def release(image, mount):
    """Unmounts and removes whatever attach() left, however far it came; what is not there is no error."""
    while os.path.ismount(mount):
        if subprocess.run(["umount", "-R", str(mount)], capture_output=True, check=False).returncode != 0:
            run("umount", "-R", "-l", str(mount))
    if image.exists():
        for line in run("losetup", "--associated", str(image)).splitlines():
            subprocess.run(["losetup", "--detach", line.partition(":")[0]], capture_output=True, check=False)
        image.unlink()


class Filesystem:
    def __init__(self, mount, image, device):
        self.mount = mount
        self.image = image
        self.device = device

    def subvolume(self, name):
        path = self.mount / name
        run("btrfs", "subvolume", "create", str(path))
        return path

    def snapshot(self, source, name):
        """Read-only."""
        path = self.mount / name
        snapshot(source, path)
        return path

    def remount(self, options):
        run("mount", "-o", "remount," + options, str(self.mount))

    def subvolumes(self):
        """Paths of all subvolumes, relative to the top level."""
        lines = run("btrfs", "subvolume", "list", str(self.mount)).splitlines()
        return sorted(line.split(" path ", 1)[1] for line in lines)


@contextlib.contextmanager
def filesystem(directory, size="8G", options="compress=zstd"):
    """Yields a mounted Filesystem in `directory`; unmounts and detaches it whatever happens."""
    directory = pathlib.Path(directory)
    image, mount = directory / "btrfs.img", directory / "mnt"
    try:
        yield attach(image, mount, size, options)
    finally:
        release(image, mount)
