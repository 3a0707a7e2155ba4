"""moto's S3 server, from whatever python3 has it: Debian packages none.

moto_server.py start DIR | stop DIR    see servers.py. It keeps everything in memory, and looks at no signature.
"""
import pathlib
import shlex
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import servers  # noqa: E402


class Moto(servers.Server):
    def why_not(self):
        return None if servers.python_with("moto.server") else "no python3 of PATH has moto (pip install 'moto[server]')"

    def prepare(self, port):
        return f"cd / && exec {shlex.quote(servers.python_with('moto.server'))} -m moto.server -H 127.0.0.1 -p {port}"


if __name__ == "__main__":
    sys.exit(servers.main(Moto, __doc__))
