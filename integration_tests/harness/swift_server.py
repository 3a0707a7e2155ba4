"""OpenStack Swift with its S3 middleware (s3api), of Debian's packages: one memcached, one proxy, one server of each kind, one device.

swift_server.py start DIR | stop DIR    see servers.py. The device is a Btrfs in an image file, for its extended attributes.
"""
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import btrfs, rgw, servers  # noqa: E402

PROGRAMS = ("memcached", "swift-proxy-server", "swift-account-server", "swift-container-server",
            "swift-object-server")
COMMON = """[swift-hash]
swift_hash_path_suffix = tests

[storage-policy:0]
name = default
default = yes
"""
PROXY = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 2
user = root

[pipeline:main]
pipeline = catch_errors gatekeeper healthcheck cache listing_formats bulk s3api tempauth slo dlo proxy-server

[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true

[filter:s3api]
use = egg:swift#s3api

[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = {secret} .admin

[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:{memcache}

[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:healthcheck]
use = egg:swift#healthcheck
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
SERVER = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = {workers}
user = root
devices = {devices}
mount_check = false
fallocate_reserve = 0

[pipeline:main]
pipeline = {kind}-server

[app:{kind}-server]
use = egg:swift#{kind}
"""
RINGS = """
import sys
from swift.common.ring import RingBuilder
for kind, port in zip(("account", "container", "object"), sys.argv[1:], strict=True):
    builder = RingBuilder(4, 1, 1)
    builder.add_dev({"region": 1, "zone": 1, "ip": "127.0.0.1", "port": int(port), "device": "d1", "weight": 1})
    builder.rebalance()
    builder.get_ring().save(f"/etc/swift/{kind}.ring.gz")
"""
# /etc/swift is where Swift looks for swift.conf, whatever it is told. The proxy is content with servers that are not there
# yet, and then asks them no more for a minute. The first that ends, ends all.
SCRIPT = """
mount --bind {etc} /etc/swift
mount -o loop,discard {image} {devices}
mkdir {devices}/d1
memcached -u root -l 127.0.0.1 -p {memcache} &
/usr/bin/python3 /etc/swift/rings.py {account} {container} {object}
for kind in account container object; do
  swift-$kind-server /etc/swift/$kind-server.conf &
done
for port in {memcache} {account} {container} {object}; do
  until (exec 3<>/dev/tcp/127.0.0.1/$port) 2>/dev/null; do sleep 0.1; done
done
swift-proxy-server /etc/swift/proxy-server.conf &
wait -n
"""


class Swift(servers.Server):
    access_key = "test:tester"

    def why_not(self):
        missing = [name for name in PROGRAMS if not shutil.which(name)]
        return f"not installed: {' '.join(missing)}" if missing else btrfs.why_not()

    def prepare(self, port):
        etc, devices, image = (self.directory / name for name in ("etc", "devices", "devices.img"))
        etc.mkdir()
        devices.mkdir()
        btrfs.run("truncate", "-s", "8G", str(image))
        btrfs.make(image)
        *numbers, memcache = rgw.free_ports(4)
        ports = dict(zip(("account", "container", "object"), numbers, strict=True))
        for kind, number in ports.items():
            (etc / f"{kind}-server.conf").write_text(SERVER.format(
                kind=kind, port=number, devices=devices, workers=2 if kind == "object" else 0), encoding="ascii")
        (etc / "proxy-server.conf").write_text(PROXY.format(port=port, memcache=memcache, secret=self.secret_key), encoding="ascii")
        (etc / "swift.conf").write_text(COMMON, encoding="ascii")
        (etc / "rings.py").write_text(RINGS, encoding="ascii")
        return SCRIPT.format(etc=etc, devices=devices, image=image, memcache=memcache, **ports)


if __name__ == "__main__":
    sys.exit(servers.main(Swift, __doc__))
