"""A directory to chroot into that holds a static program, btrfs-progs and, beside /dev and /proc, nothing
else: no shell, no configuration, no certificates but the given ones. Names are resolved by a server of the test's own."""
import contextlib
import pathlib
import re
import shutil
import socket
import ssl
import struct
import subprocess
import threading

NAME = "store.test"
ADDRESS = "127.83.0.53"  # on loopback, where nobody else answers
CHROOT = ('mount --bind "$1" "$0/mnt" && mount -t proc proc "$0/proc" && mount --rbind /dev "$0/dev" && '
          'exec /usr/sbin/chroot ${AS:+--userspec="$AS" --groups=} "$0" /btrfs_to_s3 "${@:2}"')


def make(directory, static_binary, authority, system=pathlib.Path("/")):
    """Fills `directory`, with the btrfs-progs of `system`. Where the CA file lies is Fedora's place, not the one of this
    machine."""
    for name in ("dev", "etc/pki/tls/certs", "mnt", "proc", "sbin", "tmp"):
        (directory / name).mkdir(parents=True)
    shutil.copy(static_binary, directory / "btrfs_to_s3")
    shutil.copy(authority, directory / "etc/pki/tls/certs/ca-bundle.crt")
    (directory / "etc/resolv.conf").write_text(f"nameserver {ADDRESS}\n", encoding="ascii")
    btrfs = next(name for name in ("usr/sbin/btrfs", "usr/bin/btrfs", "sbin/btrfs", "bin/btrfs") if (system / name).exists())
    shutil.copy(system / btrfs, directory / "sbin/btrfs")
    linked = subprocess.run(["/usr/sbin/chroot", str(system), "/usr/bin/ldd", f"/{btrfs}"], capture_output=True, text=True,
                            check=True).stdout
    for library in re.findall(r"(/\S+) \(0x", linked):
        target = directory / library.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(system / library.lstrip("/"), target)


def run(directory, mount, environment, *arguments, user=None):
    """The static program with these arguments, `mount` at /mnt; as root, or as `user` ("UID:GID"). Its mounts end with it."""
    return subprocess.run(["unshare", "--mount", "bash", "-c", CHROOT, str(directory), str(mount), *arguments],
                          env={"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", **({"AS": user} if user else {}), **environment}, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False, timeout=600)


class NameServer(threading.Thread):
    """Answers A queries for NAME with 127.0.0.1, and everything else with "no such name"."""

    def __init__(self):
        super().__init__(daemon=True)
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind((ADDRESS, 53))
        self.asked = []

    def run(self):
        while True:
            try:
                query, sender = self.socket.recvfrom(2048)
            except OSError:
                return
            if not query:
                return
            labels, at = [], 12
            while query[at]:
                labels.append(query[at + 1:at + 1 + query[at]].decode("ascii", "replace").lower())
                at += 1 + query[at]
            question = query[12:at + 5]
            kind = struct.unpack(">H", query[at + 1:at + 3])[0]
            name = ".".join(labels)
            self.asked.append(name)
            answers = b""
            if name == NAME and kind == 1:
                answers = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + socket.inet_aton("127.0.0.1")
            flags = 0x8180 if name == NAME else 0x8183
            self.socket.sendto(query[:2] + struct.pack(">HHHHH", flags, 1, 1 if answers else 0, 0, 0) +
                               question + answers, sender)

    def close(self):
        # A shutdown wakes the receiver; it fails on a datagram socket that has no peer, and wakes it.
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.join()
        self.socket.close()


class TlsFront(threading.Thread):
    """https on a port of loopback, with a certificate for NAME, before the gateway's http."""

    def __init__(self, directory, gateway_port):
        super().__init__(daemon=True)
        self.gateway_port = gateway_port
        self.authority = directory / "authority.pem"
        key = directory / "key.pem"
        subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}",
                        "-addext", f"subjectAltName=DNS:{NAME}", "-keyout", str(key), "-out", str(self.authority)],
                       capture_output=True, check=True)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(self.authority, key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(client,), daemon=True).start()

    def serve(self, client):
        with contextlib.suppress(OSError):
            with self.context.wrap_socket(client, server_side=True) as outer, \
                    socket.create_connection(("127.0.0.1", self.gateway_port)) as inner:
                # A TLS socket must not be used by two threads at once: both directions in turn.
                while True:
                    request = self.message(outer)
                    if not request:
                        return
                    inner.sendall(request)
                    self.copy_answer(inner, outer, head=request.startswith(b"HEAD "))

    @staticmethod
    def message(source):
        """One request; those of a restore have no body worth mentioning."""
        data = b""
        while b"\r\n\r\n" not in data:
            piece = source.recv(65536)
            if not piece:
                return b""
            data += piece
        return data

    @staticmethod
    def copy_answer(inner, outer, head):
        data = b""
        while b"\r\n\r\n" not in data:
            piece = inner.recv(65536)
            if not piece:
                return
            data += piece
        headers, body = data.split(b"\r\n\r\n", 1)
        length = re.search(rb"(?i)\r\ncontent-length: *(\d+)", headers)
        chunked = re.search(rb"(?i)\r\ntransfer-encoding: *chunked", headers)
        outer.sendall(data)
        left = 0 if head or not length else int(length[1]) - len(body)
        while left > 0 or (chunked and not head and not data.endswith(b"0\r\n\r\n")):
            piece = inner.recv(1 << 20)
            if not piece:
                return
            outer.sendall(piece)
            data = (data + piece)[-16:]
            left -= len(piece)

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.join()
        self.listener.close()
