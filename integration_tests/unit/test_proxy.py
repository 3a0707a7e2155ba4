"""The proxy's ways of spoiling a connection, against a server that echoes."""
import http.client
import http.server
import threading
import time
import unittest
import urllib.parse

from support import Case

from harness import archive, compare, proxy


class Echo(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"0123456789"
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
    do_GET = do_PUT = do_POST = do_HEAD = answer

    def log_message(self, *_):
        pass


class Spoiling(Case):
    def setUp(self):
        super().setUp()
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Echo)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        self.addCleanup(server.server_close)
        self.addCleanup(thread.join)
        self.addCleanup(server.shutdown)
        self.between = proxy.Proxy(f"http://127.0.0.1:{server.server_address[1]}")
        self.addCleanup(self.between.close)

    def ask(self, method, path, body=None):
        """Status and body, as a client of the proxy sees them."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.between.endpoint).netloc, timeout=20)
        try:
            connection.request(method, path, body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def test_without_a_rule_everything_passes(self):
        self.assertEqual(self.ask("PUT", "/a", b"hello"), (200, b"hello"))
        self.assertEqual(self.ask("GET", "/a"), (200, b"0123456789"))

    def test_cut_ends_the_first_connections_and_no_more(self):
        rule = self.between.hold("PUT", path="/a", when="cut", number=2)
        for _ in range(2):
            with self.assertRaises((http.client.HTTPException, ConnectionError)):
                self.ask("PUT", "/a", b"hello")
        self.assertEqual(self.ask("PUT", "/b", b"hello"), (200, b"hello"))
        self.assertEqual(self.ask("PUT", "/a", b"hello"), (200, b"hello"))
        self.assertEqual(rule.seen, 3)

    def test_corrupt_flips_one_bit_of_the_body_on_its_way(self):
        self.between.hold("PUT", when="corrupt")
        _, body = self.ask("PUT", "/a", b"hello")
        self.assertEqual((len(body), sum(bin(a ^ b).count("1") for a, b in zip(body, b"hello"))), (5, 1))
        self.assertEqual(self.ask("PUT", "/a", b"hello"), (200, b"hello"))
        self.between.hold("GET", when="corrupt")
        self.assertNotEqual(self.ask("GET", "/a"), (200, b"0123456789"))

    def test_delay_lets_the_request_wait_and_pass(self):
        self.between.hold("PUT", when="delay", seconds=0.2)
        began = time.monotonic()
        self.assertEqual(self.ask("PUT", "/a", b"hello"), (200, b"hello"))
        self.assertGreaterEqual(time.monotonic() - began, 0.2)

    def test_refuse_asks_to_slow_down(self):
        self.between.hold("PUT", when="refuse")
        self.assertEqual(self.ask("PUT", "/a", b"hello")[0], 503)
        self.assertEqual(self.ask("PUT", "/a", b"hello")[0], 200)

    def test_an_archive_refuses_until_it_was_asked_often_enough(self):
        self.between.player = archive.Archive("/cold", polls=2)
        self.assertEqual(self.ask("GET", "/cold")[0], 403)
        self.assertEqual(self.ask("POST", "/cold?restore", b"<RestoreRequest/>")[0], 202)
        self.assertEqual(self.ask("POST", "/cold?restore", b"<RestoreRequest/>")[0], 409)
        self.ask("HEAD", "/cold")
        self.assertEqual(self.ask("GET", "/cold")[0], 403)
        self.ask("HEAD", "/cold")
        self.assertEqual(self.ask("GET", "/cold")[0], 200)


class Descriptions(Case):
    def test_a_description_survives_being_saved(self):
        root = self.directory / "tree"
        self.write("tree/folder/file", "content")
        (root / "link").symlink_to("folder/file")
        (root / "hard").hardlink_to(root / "folder" / "file")
        with open(bytes(root) + b"/odd\xff\nname", "wb") as file:
            file.truncate(1 << 20)
        described = compare.describe(root)
        compare.save(described, self.directory / "saved.json")
        self.assertEqual(compare.load(self.directory / "saved.json"), described)
        (root / "folder" / "file").write_text("Content")
        found = compare.different(compare.load(self.directory / "saved.json"), compare.describe(root), "then", "now")
        self.assertTrue(any("sha256" in line for line in found), found)

    def test_a_sample_reads_some_files_and_describes_all(self):
        for number in range(20):
            self.write(f"tree/{number}", str(number))
        described = compare.describe(self.directory / "tree", lambda name: name == b"7")
        self.assertEqual([name for name, facts in described.items() if "sha256" in facts], [b"7"])
        self.assertEqual(len(described), 21)


if __name__ == "__main__":
    unittest.main()
