"""A bucket of any size that costs nothing: keys, sizes and documents made up in memory, answered by a proxy (proxy.py) in the
endpoint's stead. To be read only: a request that would change it is refused."""
import bisect
import copy
import datetime
import hashlib
import html
import json
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

    def tag(self, key):
        """Another one for another content: what is kept of what was read goes by it."""
        return '"' + hashlib.md5(self.documents.get(key, key.encode())).hexdigest() + '"'

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


def many_backups(template, pointer, root, names, each):
    """Documents and sizes of `each` backups, a day apart, of each of these subvolumes: fulls with nine incrementals each. The
    newest is of an hour ago."""
    documents, sizes = {}, {}
    newest = datetime.datetime.now(datetime.timezone.utc).replace(microsecond=0) - datetime.timedelta(hours=1)
    for number, name in enumerate(names):
        base, key, digest = f"{root}/subvol/{name}/", None, None
        for index in range(each):
            when = newest - datetime.timedelta(days=each - 1 - index)
            stamp = when.strftime("%Y%m%dT%H%M%SZ")
            kind = "incremental" if index % 10 else "full"
            one = copy.deepcopy(template)
            one.pop("parent_manifest_sha256", None)
            one.pop("index", None)
            one.update(subvolume=name, kind=kind, created_at=when.strftime("%Y-%m-%dT%H:%M:%SZ"),
                       parent_manifest=key if kind == "incremental" else None)
            one["snapshot"].update(name=f"{name}__{stamp}__{'inc' if index % 10 else 'full'}",
                                   uuid=f"{number:08x}-0000-4000-8000-{index:012x}", ctransid=index + 10,
                                   parent_uuid=f"{number:08x}-0000-4000-8000-{index - 1:012x}" if index % 10 else None)
            for at, chunk in enumerate(one["chunks"]):
                chunk["key"] = f"{base}{kind}/chunk-{stamp}-{at}.bin"
                sizes[chunk["key"]] = chunk["size"]
            key = f"{base}{kind}/manifest-{stamp}.json"
            documents[key] = json.dumps(one).encode()
        documents[base + "current.json"] = json.dumps({**pointer, "manifest_key": key, "kind": kind,
                                                       "snapshot_name": one["snapshot"]["name"],
                                                       "created_at": one["created_at"]}).encode()
    return documents, sizes
