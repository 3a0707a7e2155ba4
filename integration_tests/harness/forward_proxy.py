"""A real HTTP proxy, as one stands between a company's hosts and the world.

It forwards requests in absolute form and tunnels CONNECT, wants a login where it has one, and counts what it was asked.
"""
import base64
import contextlib
import http.client
import http.server
import select
import socket
import threading
import urllib.parse

from .proxy import relay


def pump(one, other):
    """Both ways, until either side ends."""
    while True:
        for ready in select.select([one, other], [], [], 60)[0] or [None]:
            data = ready.recv(65536) if ready else b""
            if not data:
                return
            (other if ready is one else one).sendall(data)


@contextlib.contextmanager
def forward_proxy(login=None):
    """login: "user:password", or None. Yields an object with `host` ("127.0.0.1:port") and `lines`."""
    expected = login and "Basic " + base64.b64encode(login.encode()).decode()

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def allowed(self):
            server.lines.append(f"{self.command} {self.path}")
            if not expected or self.headers.get("Proxy-Authorization") == expected:
                return True
            self.close_connection = True
            self.send_response(407)
            self.send_header("Proxy-Authenticate", 'Basic realm="proxy"')
            self.send_header("Content-Length", "0")
            self.end_headers()
            return False

        def do_CONNECT(self):
            self.close_connection = True
            if self.allowed():
                host, _, port = self.path.rpartition(":")
                with socket.create_connection((host, int(port))) as upstream:
                    self.send_response_only(200)
                    self.end_headers()
                    pump(self.connection, upstream)

        def forward(self):
            if not self.allowed():
                return
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            url = urllib.parse.urlsplit(self.path)
            upstream = http.client.HTTPConnection(url.netloc, timeout=120)
            with contextlib.closing(upstream):
                upstream.putrequest(self.command, url._replace(scheme="", netloc="").geturl(), skip_host=True,
                                    skip_accept_encoding=True)
                for name, value in self.headers.items():
                    if not name.lower().startswith("proxy-") and name.lower() not in ("connection", "expect"):
                        upstream.putheader(name, value)
                upstream.endheaders(body or None)
                answer = upstream.getresponse()
                content = answer.read()
            relay(self, answer, content)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

        def log_message(self, *_):
            pass

        def handle(self):
            with contextlib.suppress(ConnectionError):
                super().handle()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.lines = []
    server.host = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
