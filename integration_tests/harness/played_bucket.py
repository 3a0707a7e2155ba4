"""A bucket of any size that costs nothing: keys, sizes and documents made up in memory, answered by a proxy (proxy.py) in the
endpoint's stead. To be read only: a request that would change it is refused."""
import bisect
import hashlib
import html
import time
import urllib.parse

PAGE = 1000  # of a listing, as S3 has it


class PlayedBucket:
    """`documents` {key: bytes} can be read; `sizes` {key: size} of others are listed and cannot."""

    def __init__(self, name, documents, sizes, age_days=0):
        self.name, self.documents = name, documents
        self.sizes = {**sizes, **{key: len(body) for key, body in documents.items()}}
        self.keys = sorted(self.sizes)
        self.modified = time.strftime("%Y-%m-%dT%H:%M:%S.000Z", time.gmtime(time.time() - age_days * 86400))
        self.gets = self.listings = 0

    def answer(self, method, path, query, _body):
        key = urllib.parse.unquote(path).removeprefix(f"/{self.name}").removeprefix("/")
        options = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        if method == "GET" and "list-type" in options:
            self.listings += 1
            return 200, {}, self.listed(options)
        if method == "GET" and "uploads" in options:
            return 200, {}, b"<ListMultipartUploadsResult><IsTruncated>false</IsTruncated></ListMultipartUploadsResult>"
        if method in ("GET", "HEAD") and key in self.documents:
            self.gets += 1
            return 200, {"ETag": self.tag(key)}, self.documents[key]
        if method in ("GET", "HEAD"):
            return 404, {}, b"<Error><Code>NoSuchKey</Code><Message>not here</Message></Error>"
        return 403, {}, b"<Error><Code>AccessDenied</Code><Message>to be read only</Message></Error>"

    @staticmethod
    def headers(_method, _path):
        return {}

    @staticmethod
    def tag(key):
        return '"' + hashlib.md5(key.encode()).hexdigest() + '"'

    def listed(self, options):
        prefix, delimiter = options.get("prefix", ""), options.get("delimiter", "")
        after = options.get("continuation-token", options.get("start-after", ""))
        count, entries, truncated, last, folder = int(options.get("max-keys", PAGE)), [], False, "", None
        for at in range(bisect.bisect_left(self.keys, max(prefix, after)), len(self.keys)):
            key = self.keys[at]
            if not key.startswith(prefix):
                break
            if key <= after or (folder is not None and key.startswith(folder)) or (
                    delimiter and after.endswith(delimiter) and key.startswith(after)):
                continue
            if len(entries) == min(count, PAGE):
                truncated = True
                break
            rest = key[len(prefix):]
            folder = prefix + rest[:rest.index(delimiter) + 1] if delimiter and delimiter in rest else None
            last = folder or key
            if folder:
                entries.append(f"<CommonPrefixes><Prefix>{html.escape(folder)}</Prefix></CommonPrefixes>")
            else:
                entries.append(f"<Contents><Key>{html.escape(key)}</Key><LastModified>{self.modified}</LastModified>"
                               f"<ETag>{html.escape(self.tag(key))}</ETag><Size>{self.sizes[key]}</Size>"
                               "<StorageClass>STANDARD</StorageClass></Contents>")
        more = f"<NextContinuationToken>{html.escape(last)}</NextContinuationToken>" if truncated else ""
        return ('<?xml version="1.0" encoding="UTF-8"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
                f"<Name>{self.name}</Name><Prefix>{html.escape(prefix)}</Prefix><KeyCount>{len(entries)}</KeyCount>"
                f"<IsTruncated>{'true' if truncated else 'false'}</IsTruncated>{more}{''.join(entries)}"
                "</ListBucketResult>").encode()
