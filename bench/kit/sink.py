"""The S3 endpoint of a measurement: nginx with Lua, http and https, and a certificate authority of its own."""
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
MODULE = pathlib.Path("/usr/lib/nginx/modules/ngx_http_lua_module.so")


def why_not():
    """A reason why this machine cannot run it, or None."""
    if not shutil.which("nginx", path="/usr/sbin:/usr/bin") or not MODULE.exists():
        return "nginx with Lua is not installed (tests/install_dependencies.sh bench)"
    if not shutil.which("openssl"):
        return "openssl is not installed"
    return None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_certificates(directory):
    """ca.pem signs certificate.pem (for 127.0.0.1 and localhost) with key.pem; valid for a week."""
    def openssl(*arguments):
        subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
    key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    openssl("req", "-x509", *key, "-keyout", "ca-key.pem", "-out", "ca.pem", "-days", "7", "-subj", "/CN=bench CA")
    openssl("req", *key, "-keyout", "key.pem", "-out", "request.pem", "-subj", "/CN=localhost")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n", encoding="ascii")
    openssl("x509", "-req", "-in", "request.pem", "-CA", "ca.pem", "-CAkey", "ca-key.pem", "-CAcreateserial",
            "-days", "7", "-extfile", "names", "-out", "certificate.pem")


class Sink:
    def __init__(self, directory):
        self.directory = directory
        self.http_port, self.https_port, self.careful_port = free_port(), free_port(), free_port()
        self.ca_file = directory / "ca.pem"
        self.objects = directory / "objects"

    def endpoint(self, tls=False):
        return f"https://127.0.0.1:{self.https_port}" if tls else f"http://127.0.0.1:{self.http_port}"

    def errors(self):
        log = self.directory / "error.log"
        return log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""


@contextlib.contextmanager
def running(directory):
    """A sink in `directory`; what lies below its objects/BUCKET/ can be downloaded."""
    directory = pathlib.Path(directory)
    for name in ("objects", "temp"):
        (directory / name).mkdir(parents=True)
    make_certificates(directory)
    sink = Sink(directory)
    values = {"DIRECTORY": directory, "LUA": HERE / "sink.lua", "HTTP_PORT": sink.http_port,
              "HTTPS_PORT": sink.https_port, "CAREFUL_PORT": sink.careful_port}
    for source, name in (("sink.nginx.conf", "nginx.conf"), ("sink.locations.conf", "locations.conf")):
        text = (HERE / source).read_text(encoding="ascii")
        for key, value in values.items():
            text = text.replace(f"@{key}@", str(value))
        (directory / name).write_text(text, encoding="ascii")
    process = subprocess.Popen(["nginx", "-e", str(directory / "error.log"), "-p", str(directory), "-c",
                                str(directory / "nginx.conf")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL, env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"},
                               start_new_session=True)
    try:
        deadline = time.monotonic() + 30
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", sink.http_port)) == 0:
                    break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError("the sink did not start: " + sink.errors())
            time.sleep(0.02)
        yield sink
    finally:
        process.terminate()
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)  # its workers as well
            process.wait()
