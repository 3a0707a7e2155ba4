"""An S3 endpoint's archive, played by a proxy in front of one that has none.

Objects whose path matches lie in GLACIER: HEAD says so, GET is refused with 403 InvalidObjectState until
POST ?restore was sent and HEAD has been asked `polls` times since, and again from the GET number `expire_at_get` on.
"""
import contextlib
import re
import threading

from . import proxy

EXPIRY = 'ongoing-request="false", expiry-date="Fri, 21 Dec 2999 00:00:00 GMT"'


def refusal(status, code):
    body = f"<?xml version=\"1.0\"?><Error><Code>{code}</Code><Message>{code}</Message></Error>".encode()
    return status, {"Content-Type": "application/xml"}, body


class Archive:
    def __init__(self, path, polls):
        self.path, self.polls = re.compile(path), polls
        self.lock = threading.Lock()
        self.objects = {}  # path: polls still to come; 0: readable
        self.posted = []  # paths of accepted requests, and
        self.bodies = []  # what they said
        self.posted_before_reading = None  # how many, at the first GET
        self.refused = 0  # GETs
        self.gets = 0
        self.expire_at_get = None

    def answer(self, method, path, query, body):
        """Status, headers, body; None: the endpoint answers."""
        if not self.path.search(path):
            return None
        with self.lock:
            if method == "GET":
                self.gets += 1
                if self.gets == 1:
                    self.posted_before_reading = len(self.posted)
                if self.gets == self.expire_at_get:
                    self.objects.clear()
                if self.objects.get(path) != 0:
                    self.refused += 1
                    return refusal(403, "InvalidObjectState")
            if method == "POST" and query.rstrip("=") == "restore":
                if self.objects.get(path, 0) > 0:
                    return refusal(409, "RestoreAlreadyInProgress")
                if path in self.objects:
                    return 200, {}, b""
                self.objects[path] = self.polls
                self.posted.append(path)
                self.bodies.append(body.decode())
                return 202, {}, b""
        return None

    def headers(self, method, path):
        """What the endpoint's answer lacks."""
        if method != "HEAD" or not self.path.search(path):
            return {}
        with self.lock:
            said = {"x-amz-storage-class": "GLACIER"}
            if path in self.objects:
                self.objects[path] = max(0, self.objects[path] - 1)
                said["x-amz-restore"] = 'ongoing-request="true"' if self.objects[path] else EXPIRY
            return said


@contextlib.contextmanager
def archive_before(endpoint, path, polls):
    """The archive and its endpoint."""
    with proxy.proxy_to(endpoint) as between:
        between.player = Archive(path, polls)
        yield between.player, between.endpoint
