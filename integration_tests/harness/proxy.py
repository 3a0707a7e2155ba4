"""An HTTP proxy in front of an S3 endpoint that can stop the world at one request, and spoil connections.

A rule says which request (method, expressions for path and query) and where: "before" it is forwarded, or "after",
when the endpoint has answered and the client has not heard of it. There the request waits until the proxy is
released, and so the program under test can be killed at exactly that instruction. A rule can also say what happens to
the first matching requests, `number` of them: "refuse" answers 503 SlowDown, "cut" ends the connection in the middle of
the request's body, "delay" lets the request wait for `seconds`, "corrupt" flips a bit of the request's body or, where it
has none, of the answer's.
"""
import contextlib
import http.client
import http.server
import re
import threading
import time
import urllib.parse

HELD = ("before", "after")


def spoiled(data):
    """With one bit in the middle flipped."""
    at = len(data) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]


def relay(handler, answer, content, added=()):
    """Hands an endpoint's answer to whoever asked a handler; headers of `added` replace its own."""
    added = dict(added)
    handler.send_response_only(answer.status, answer.reason)
    for name, value in added.items():
        handler.send_header(name, value)
    for name, value in answer.getheaders():
        if name.lower() not in ("connection", "transfer-encoding", "content-length", *added):
            handler.send_header(name, value)
    size = answer.getheader("Content-Length") if handler.command == "HEAD" else str(len(content))
    handler.send_header("Content-Length", size or "0")
    handler.end_headers()
    handler.wfile.write(content)


class Rule:
    def __init__(self, method, path=".*", query="", when="before", number=1, seconds=0):
        self.method, self.path, self.query, self.when = method, re.compile(path), re.compile(query), when
        self.number = number  # of the matching request that is held, from 1; of requests that are spoiled
        self.seconds = seconds
        self.seen = 0
        self.reached, self.released = threading.Event(), threading.Event()

    def holds(self, method, path, query):
        if self.method != method or not self.path.search(path) or not self.query.search(query):
            return False
        self.seen += 1
        return self.seen == self.number if self.when in HELD else self.seen <= self.number


class Proxy:
    def __init__(self, endpoint):
        self.target = urllib.parse.urlsplit(endpoint).netloc
        self.rule = None
        self.player = None  # answers in the endpoint's stead, or adds headers (archive.py)
        self.watch = None  # is shown each body as it came: method, path, query, bytes
        self.lock = threading.Lock()
        self.requests = []  # (method, path, query, bytes of the body)
        self.answers = []  # of the endpoint: (method, path, bytes of the content)
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def forward(self):
                length = int(self.headers.get("Content-Length", 0))
                path, _, query = self.path.partition("?")
                with proxy.lock:
                    proxy.requests.append((self.command, path, query, length))
                    rule = proxy.rule
                    held = rule is not None and rule.holds(self.command, path, query)
                if held and rule.when == "cut":
                    self.rfile.read(length // 2)
                    self.close_connection = True
                    return
                if held and rule.when == "delay":
                    time.sleep(rule.seconds)
                body = self.rfile.read(length)
                if proxy.watch:
                    proxy.watch(self.command, path, query, body)
                if held and rule.when == "corrupt" and body:
                    body = spoiled(body)
                if held and rule.when == "refuse":
                    content = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate</Message></Error>"
                    self.send_response_only(503, "Slow Down")
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                    return
                if held and rule.when == "before":
                    rule.reached.set()
                    rule.released.wait()
                    self.close_connection = True
                    return
                played = proxy.player.answer(self.command, path, query, body) if proxy.player else None
                if played:
                    status, headers, content = played
                    self.send_response(status)
                    for name, value in headers.items():
                        self.send_header(name, value)
                    self.send_header("Content-Length", str(len(content)))
                    self.end_headers()
                    self.wfile.write(content)
                    return
                upstream = http.client.HTTPConnection(proxy.target, timeout=120)
                try:
                    upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
                    for name, value in self.headers.items():
                        if name.lower() not in ("connection", "expect", "transfer-encoding"):
                            upstream.putheader(name, value)
                    upstream.endheaders(body if body else None)
                    answer = upstream.getresponse()
                    content = answer.read()
                finally:
                    upstream.close()
                with proxy.lock:
                    proxy.answers.append((self.command, path, len(content)))
                if held and rule.when == "after":
                    rule.reached.set()
                    rule.released.wait()
                    self.close_connection = True
                    return
                if held and rule.when == "corrupt" and not body and content:
                    content = spoiled(content)
                added = proxy.player.headers(self.command, path) if proxy.player and answer.status < 300 else {}
                relay(self, answer, content, added)

            do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = forward

            def log_message(self, *_):
                pass

            def handle(self):
                # The program under test is killed on purpose.
                with contextlib.suppress(ConnectionError):
                    super().handle()

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def hold(self, *arguments, **options):
        self.rule = Rule(*arguments, **options)
        return self.rule

    def release(self):
        if self.rule is not None:
            self.rule.released.set()
        self.rule = None

    def bytes_of_parts(self):
        """Uploaded in parts and whole chunks, repeats included."""
        return sum(size for method, path, _, size in self.requests if method == "PUT" and "/chunk-" in path)

    def close(self):
        self.release()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@contextlib.contextmanager
def proxy_to(endpoint):
    proxy = Proxy(endpoint)
    try:
        yield proxy
    finally:
        proxy.close()
