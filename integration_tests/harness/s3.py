"""A small S3 client that shares nothing with the program under test."""
import datetime
import hashlib
import hmac
import http.client
import json
import urllib.parse
import xml.etree.ElementTree


class S3Error(Exception):
    def __init__(self, status, body):
        super().__init__(f"{status}: {body[:300]!r}")
        self.status = status


class Bucket:
    def __init__(self, endpoint, name, access_key, secret_key, region="us-east-1"):
        parsed = urllib.parse.urlsplit(endpoint)
        self.endpoint, self.host, self.name = endpoint, parsed.netloc, name
        self.access_key, self.secret_key, self.region = access_key, secret_key, region

    def request(self, method, key="", query=None, body=b""):
        path = urllib.parse.quote(f"/{self.name}" + (f"/{key}" if key else ""), safe="/-_.~")
        text = "&".join(f"{urllib.parse.quote(name, safe='-_.~')}={urllib.parse.quote(value, safe='-_.~')}"
                        for name, value in sorted((query or {}).items()))
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y%m%dT%H%M%SZ")
        scope = f"{now[:8]}/{self.region}/s3/aws4_request"
        payload = hashlib.sha256(body).hexdigest()
        headers = {"host": self.host, "x-amz-content-sha256": payload, "x-amz-date": now}
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = f"{method}\n{path}\n{text}\n{lines}\n{names}\n{payload}"
        to_sign = f"AWS4-HMAC-SHA256\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signing_key = ("AWS4" + self.secret_key).encode()
        for word in (now[:8], self.region, "s3", "aws4_request"):
            signing_key = hmac.new(signing_key, word.encode(), hashlib.sha256).digest()
        signature = hmac.new(signing_key, to_sign.encode(), hashlib.sha256).hexdigest()
        headers["Authorization"] = (f"AWS4-HMAC-SHA256 Credential={self.access_key}/{scope}, "
                                    f"SignedHeaders={names}, Signature={signature}")
        connection = http.client.HTTPConnection(self.host, timeout=60)
        try:
            connection.request(method, path + (f"?{text}" if text else ""), body, headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status >= 300:
            raise S3Error(answer.status, content)
        return content

    def create(self):
        self.request("PUT")

    def get(self, key):
        return self.request("GET", key)

    def get_json(self, key):
        return json.loads(self.get(key))

    def put(self, key, body):
        self.request("PUT", key, body=body)

    def delete(self, key):
        self.request("DELETE", key)

    def list(self, prefix=""):
        """{key: size}"""
        found, query = {}, {"list-type": "2", "prefix": prefix}
        while True:
            root = xml.etree.ElementTree.fromstring(self.request("GET", query=query))
            space = root.tag.partition("}")[0] + "}"
            for entry in root.iter(space + "Contents"):
                found[entry.findtext(space + "Key")] = int(entry.findtext(space + "Size"))
            if root.findtext(space + "IsTruncated") != "true":
                return found
            query["continuation-token"] = root.findtext(space + "NextContinuationToken")

    def open_upload_ids(self):
        """[(key, upload id)]"""
        root = xml.etree.ElementTree.fromstring(self.request("GET", query={"uploads": ""}))
        space = root.tag.partition("}")[0] + "}"
        return [(entry.findtext(space + "Key"), entry.findtext(space + "UploadId"))
                for entry in root.iter(space + "Upload")]

    def open_uploads(self):
        return [key for key, _ in self.open_upload_ids()]

    def abort(self, key, upload_id):
        self.request("DELETE", key, query={"uploadId": upload_id})

    def sibling(self):
        """Another bucket of the same owner; not created yet."""
        return Bucket(self.endpoint, self.name + "-2", self.access_key, self.secret_key, self.region)
