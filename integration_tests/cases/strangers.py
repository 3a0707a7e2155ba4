"""Cases in which somebody else answers for the store: a portal, a web server, a store that lies."""
from world import case, dataset, says

from harness.forward_proxy import forward_proxy

from recovery import behind_proxy, recovered

PORTAL = (200, {"Content-Type": "text/html", "ETag": '"1"'}, b"<html><body>Please sign in</body></html>")
WEB_SERVER = (404, {"Content-Type": "text/html"}, b"<html><head><title>404 Not Found</title></head></html>")
NO_ETAG = (200, {}, b"")


class Stranger:
    """Answers the first requests of a method for the pointer, each with the next of these."""

    def __init__(self, method, answers):
        self.method, self.answers = method, answers

    def answer(self, method, path, _query, _body):
        return self.answers.pop(0) if method == self.method and path.endswith("current.json") and self.answers else None

    def headers(self, _method, _path):
        return {}


@case
def whoever_answers_for_the_store_is_not_believed(w):
    dataset.seed(w.data, large_mib=8, small_files=20)
    w.backup()
    kinds = ["full"]
    for method, answers in (("GET", [PORTAL, WEB_SERVER, PORTAL]), ("PUT", [WEB_SERVER, PORTAL, NO_ETAG])):
        dataset.mutate(w.data, number=2 + len(kinds), large_mib=8)
        with behind_proxy(w) as between:
            between.player = Stranger(method, answers)
            says(w.backup(), "is no object store", "request_retried")
            assert not answers, answers
        kinds.insert(0, "incremental")
    w.tool.tables["s3"]["endpoint_url"] = w.bucket.endpoint
    recovered(w, kinds)


@case
def a_proxy_of_the_environment_is_used_and_its_password_told_nobody(w):
    dataset.seed(w.data, large_mib=8, small_files=20)
    with forward_proxy("me@home:hunter2") as proxy:
        through = {"http_proxy": f"http://me%40home:hunter2@{proxy.host}"}

        def said(outcome):
            assert "hunter2" not in outcome.stdout + outcome.stderr and "aHVudGVy" not in outcome.stderr, outcome
            return outcome.stdout + outcome.stderr

        checked = said(w.expect(0, w.tool.run("doctor", environment=through)))
        assert f"through the proxy http://{proxy.host} (http_proxy)" in checked, checked
        said(w.expect(0, w.tool.run("backup", environment=through)))
        assert any(line.startswith("PUT http://") for line in proxy.lines), proxy.lines
        # A name that only no_proxy keeps from it, and a login that is none.
        asked = len(proxy.lines)
        said(w.expect(0, w.tool.run("list", environment={**through, "no_proxy": "other, 127.0.0.1"})))
        assert len(proxy.lines) == asked, proxy.lines
        for login, why in (("", "wants a login (407)"), ("me%40home:hunter3@", "does not accept the login")):
            refused = w.expect(1, w.tool.run("list", environment={"http_proxy": f"http://{login}{proxy.host}"}))
            assert why in refused.stderr and "http_proxy" in refused.stderr and "hunter3" not in refused.stderr, refused
            assert refused.seconds < 20, refused
    gone = w.expect(1, w.tool.run("list", environment={"http_proxy": f"http://{proxy.host}", "BTRFS_TO_S3_S3_RETRY_FOR": "1s"}))
    assert f"through the proxy http://{proxy.host}" in gone.stderr, gone
    recovered(w, ["full"])


class Planter:
    """Adds folders to a listing of subvolumes."""

    def answer(self, method, _path, query, _body):
        if method != "GET" or "delimiter=" not in query:
            return None
        folders = "".join(f"<CommonPrefixes><Prefix>hosts/test/subvol/{name}/</Prefix></CommonPrefixes>"
                          for name in ("..", "../../etc", "a&#10;b", "\x1b[31m", "data"))
        return 200, {}, f"<ListBucketResult>{folders}</ListBucketResult>".encode()

    def headers(self, _method, _path):
        return {}


@case
def folders_of_the_bucket_lead_nowhere_beside_the_target(w):
    dataset.seed(w.data, large_mib=1, small_files=5)
    w.backup()
    with behind_proxy(w) as between:
        between.player = Planter()
        outcome = w.expect(0, w.tool.run("restore", "--all", "--target-base", str(w.restored)))
        says(outcome, "folder_passed_over")
        assert "\x1b" not in outcome.stderr + outcome.stdout, outcome
    assert [path.name for path in w.restored.iterdir()] == ["data"], list(w.restored.iterdir())
    w.same(w.data, w.restored / "data")
