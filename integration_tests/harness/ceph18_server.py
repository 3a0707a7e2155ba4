"""The object gateway of Ceph 18 as Debian 13 (trixie) packages it, in a system of that release which is made for it.

ceph18_server.py start DIR | stop DIR    see servers.py. Takes minutes, and 2 GB: debootstrap, packages, and rgw.py in there.
"""
import json
import pathlib
import shutil
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import servers  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
PACKAGES = "ceph-mon ceph-mgr ceph-osd radosgw ceph-common python3"
SCRIPT = """
{root}/tests/packaging/make_system.sh trixie {system}
mount --rbind /dev {system}/dev
mount -t proc proc {system}/proc
mount -t sysfs -o ro sysfs {system}/sys
inside() {{
  env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8 DEBIAN_FRONTEND=noninteractive chroot {system} "$@"
}}
inside apt-get update -qq
inside apt-get install -y -qq --no-install-recommends {packages}
inside apt-get clean
mkdir {system}/root/harness
cp {root}/integration_tests/harness/*.py {system}/root/harness/
inside python3 -B /root/harness/rgw.py start /root/gateway
exec sleep infinity
"""


class Ceph18(servers.Server):
    seconds_to_start = 2400

    def why_not(self):
        return None if shutil.which("debootstrap") else "debootstrap is not installed"

    def prepare(self, port):
        return SCRIPT.format(root=ROOT, system=self.directory / "system", packages=PACKAGES)

    def endpoint(self, port):
        """As rgw.py says, which looks for a port itself, once it has seen the gateway answer."""
        made = self.directory / "system/root/gateway/rgw.json"
        return json.loads(made.read_text(encoding="ascii")) if made.exists() and made.stat().st_size else None


if __name__ == "__main__":
    sys.exit(servers.main(Ceph18, __doc__))
