"""A throwaway Ceph object gateway: one monitor, manager, storage daemon and gateway on loopback.

  rgw.py start DIR    writes DIR/rgw.json: endpoint, access key, secret key
  rgw.py stop DIR     ends the daemons and waits for their end

Ceph 16 as Debian packages it. Storage classes are names (STANDARD_IA beside STANDARD; others are refused). What it does
not do: checksum headers (accepted, not checked), If-Match with a quoted ETag, RestoreObject.
"""
import argparse
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import time
import uuid

ACCESS_KEY = "TESTKEY"
SECRET_KEY = "TESTSECRET"
CONFIGURATION = """[global]
fsid = {fsid}
mon host = {mon}
mon initial members = a
keyring = {dir}/keyring
osd pool default size = 1
osd pool default min size = 1
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail warn = 1
mon data avail crit = 1
osd pool default pg num = 8
osd pool default pg autoscale mode = off
mon data = {dir}/mon
mgr data = {dir}/mgr
osd data = {dir}/osd
log file = {dir}/log/$name.log
pid file = {dir}/pid/$name.pid
admin socket = {dir}/pid/$name.asok
run dir = {dir}/pid
bluestore block size = 21474836480
osd memory target = 1073741824
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
rgw data = {dir}/rgw
rgw frontends = beast endpoint=127.0.0.1:{port} tcp_nodelay=1
rgw crypt require ssl = false
"""
CAPABILITIES = {
    "mon.": ["mon", "allow *"],
    "client.admin": ["mon", "allow *", "osd", "allow *", "mgr", "allow *"],
    "mgr.x": ["mon", "allow profile mgr", "osd", "allow *"],
    "osd.0": ["mon", "allow profile osd", "mgr", "allow profile osd", "osd", "allow *"],
    "client.rgw.a": ["mon", "allow rwx", "osd", "allow rwx"],
}


def missing_programs():
    return [name for name in ("ceph-mon", "ceph-mgr", "ceph-osd", "radosgw", "radosgw-admin", "ceph")
            if not shutil.which(name)]


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class Gateway:
    def __init__(self, directory):
        self.directory = pathlib.Path(directory).resolve()
        self.environment = dict(os.environ, CEPH_CONF=str(self.directory / "ceph.conf"))

    def run(self, *command):
        done = subprocess.run(command, env=self.environment, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, timeout=120)
        if done.returncode != 0:
            raise RuntimeError(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}")

    def answers(self, port):
        try:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
            connection.request("GET", "/")
            connection.getresponse().read()
            connection.close()
            return True
        except OSError:
            return False

    def wait_for(self, port, seconds):
        deadline = time.monotonic() + seconds
        while not self.answers(port):
            if time.monotonic() > deadline:
                raise RuntimeError(f"the gateway does not answer on port {port}; see {self.directory}/log")
            time.sleep(0.2)

    def start(self):
        base = self.directory
        for name in ("mon", "mgr", "osd", "rgw", "log", "pid"):
            (base / name).mkdir(parents=True)
        mon_v2, mon_v1, port = free_ports(3)
        fsid, osd = str(uuid.uuid4()), str(uuid.uuid4())
        mon = f"[v2:127.0.0.1:{mon_v2},v1:127.0.0.1:{mon_v1}]"
        (base / "ceph.conf").write_text(
            CONFIGURATION.format(fsid=fsid, mon=mon, dir=base, port=port), encoding="ascii")
        keyring = str(base / "keyring")
        for index, (entity, caps) in enumerate(CAPABILITIES.items()):
            pairs = [word for i in range(0, len(caps), 2) for word in ("--cap", caps[i], caps[i + 1])]
            create = ["--create-keyring"] if index == 0 else []
            self.run("ceph-authtool", *create, keyring, "--gen-key", "-n", entity, *pairs)
        monmap = str(base / "monmap")
        self.run("monmaptool", "--create", "--clobber", "--fsid", fsid, "--addv", "a", mon, monmap)
        self.run("ceph-mon", "-i", "a", "--mkfs", "--monmap", monmap, "--keyring", keyring)
        self.run("ceph-mon", "-i", "a")
        self.run("ceph-mgr", "-i", "x")
        # The same UUID as below, or the monitor takes no notice of the daemon.
        self.run("ceph", "osd", "new", osd)
        self.run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", osd)
        self.run("ceph-osd", "-i", "0")
        # Also makes the zone.
        self.run("radosgw-admin", "user", "create", "--uid=test", "--display-name=test",
                 f"--access-key={ACCESS_KEY}", f"--secret-key={SECRET_KEY}")
        # A second storage class, so that chunks and manifests can be told apart by theirs.
        placement = ("placement", "add", "--placement-id", "default-placement", "--storage-class", "STANDARD_IA")
        self.run("radosgw-admin", "zonegroup", *placement, "--rgw-zonegroup", "default")
        self.run("radosgw-admin", "zone", *placement, "--rgw-zone", "default",
                 "--data-pool", "default.rgw.buckets.data")
        self.run("radosgw", "-n", "client.rgw.a")
        self.wait_for(port, 90)
        (base / "rgw.json").write_text(json.dumps({
            "endpoint": f"http://127.0.0.1:{port}",
            "access_key": ACCESS_KEY, "secret_key": SECRET_KEY}), encoding="ascii")

    def stop(self):
        pids = []
        for path in sorted((self.directory / "pid").glob("*.pid")):
            try:
                pids.append(int(path.read_text()))
            except ValueError:
                continue
        ours = [pid for pid in pids if str(self.directory) in environment_of(pid)]
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in ours:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass
            deadline = time.monotonic() + 15
            while any(alive(pid) for pid in ours) and time.monotonic() < deadline:
                time.sleep(0.1)
        shutil.rmtree(self.directory, ignore_errors=True)


def alive(pid):
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def environment_of(pid):
    """A PID may have been reused: ours carry the path of their configuration."""
    try:
        return pathlib.Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except OSError:
        return ""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=["start", "stop"])
    parser.add_argument("directory")
    arguments = parser.parse_args()
    gateway = Gateway(arguments.directory)
    if arguments.verb == "stop":
        gateway.stop()
        return 0
    missing = missing_programs()
    if os.geteuid() != 0 or missing:
        print("skipped: " + ("not root" if os.geteuid() != 0 else "not installed: " + " ".join(missing)))
        return 77
    # This is a program of its own, outside its package.
    sys.dont_write_bytecode = True
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
    from harness import env
    if gateway.directory.exists():
        gateway.stop()
    try:
        env.make(gateway.directory.parent)
        gateway.start()
    except BaseException:
        for log in sorted((gateway.directory / "log").glob("*")):
            print(f"== {log.name}\n" + "".join(log.read_text(errors="replace").splitlines(True)[-5:]))
        gateway.stop()
        raise
    finally:
        env.hand_over(gateway.directory)
    print((gateway.directory / "rgw.json").read_text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
