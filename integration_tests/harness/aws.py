"""The bucket as the harness sees it, through boto3: what is there, how it is stored, and cleaning up."""
import json

import boto3
import botocore.config
import botocore.exceptions

from .assertions import HarnessError

MISSING = ("404", "NoSuchKey", "NotFound")


def client_config(addressing_style):
    """Newer versions add checksums of their own to each upload, which older stores refuse."""
    options = {"s3": {"addressing_style": addressing_style}, "connect_timeout": 20, "read_timeout": 120,
               "retries": {"max_attempts": 4, "mode": "standard"}}
    known = getattr(botocore.config.Config, "OPTION_DEFAULTS", {})
    for name in ("request_checksum_calculation", "response_checksum_validation"):
        if name in known:
            options[name] = "when_required"
    return botocore.config.Config(**options)


class Store:
    """One bucket. `credentials` is (key, secret); without, boto3 looks for them as the AWS tools do."""

    def __init__(self, settings, credentials=None):
        self.bucket, self.endpoint = settings.aws.bucket, settings.aws.endpoint_url
        style = settings.tables["s3"].get("addressing_style", "auto")
        options = {"region_name": settings.aws.region,
                   "config": client_config("path" if style == "auto" and self.endpoint else style)}
        if self.endpoint:
            options["endpoint_url"] = self.endpoint
        if credentials:
            options.update(aws_access_key_id=credentials[0], aws_secret_access_key=credentials[1])
        try:
            self.client = boto3.session.Session().client("s3", **options)
        except (botocore.exceptions.BotoCoreError, ValueError) as problem:
            raise HarnessError(f"no S3 client for {self.endpoint or 'AWS'}: {problem}") from problem

    def call(self, verb, **arguments):
        try:
            return getattr(self.client, verb)(Bucket=self.bucket, **arguments)
        except botocore.exceptions.NoCredentialsError as problem:
            raise HarnessError("no credentials: fill in config/test.env, or set AWS_PROFILE or AWS_ACCESS_KEY_ID and "
                               "AWS_SECRET_ACCESS_KEY") from problem
        except botocore.exceptions.ClientError as problem:
            if problem.response.get("Error", {}).get("Code") in MISSING:
                raise
            raise HarnessError(f"{verb} {self.bucket}/{arguments.get('Key', '')}: {problem}") from problem
        except botocore.exceptions.BotoCoreError as problem:
            raise HarnessError(f"{verb} at {self.endpoint or 'AWS'}: {problem}") from problem

    def create_bucket(self, region):
        place = {} if region == "us-east-1" or self.endpoint else {
            "CreateBucketConfiguration": {"LocationConstraint": region}}
        self.call("create_bucket", **place)

    def require_bucket(self):
        try:
            self.call("head_bucket")
        except botocore.exceptions.ClientError as problem:
            raise HarnessError(f"there is no bucket {self.bucket} at {self.endpoint or 'AWS'}: create it, or correct "
                               "aws.bucket") from problem

    def head(self, key):
        """What HeadObject says; None for an object that is not there."""
        try:
            return self.call("head_object", Key=key)
        except botocore.exceptions.ClientError:
            return None

    def get(self, key):
        try:
            return self.call("get_object", Key=key)["Body"].read()
        except botocore.exceptions.ClientError as problem:
            raise HarnessError(f"{key} is not in the bucket {self.bucket}") from problem

    def get_json(self, key):
        try:
            return json.loads(self.get(key))
        except ValueError as problem:
            raise HarnessError(f"{key} is no JSON: {problem}") from problem

    def put(self, key, body, storage_class=None, sse=None):
        more = {"StorageClass": storage_class} if storage_class else {}
        if sse:
            more["ServerSideEncryption"] = sse
        self.call("put_object", Key=key, Body=body, **more)

    def delete(self, key):
        self.call("delete_object", Key=key)

    def list(self, prefix, suffix=""):
        """{key: size} of what begins and ends so."""
        found, more = {}, {}
        while True:
            page = self.call("list_objects_v2", Prefix=prefix, **more)
            for entry in page.get("Contents", []):
                if entry["Key"].endswith(suffix):
                    found[entry["Key"]] = entry["Size"]
            if not page.get("IsTruncated"):
                return found
            more = {"ContinuationToken": page["NextContinuationToken"]}

    def open_uploads(self, prefix):
        """[(key, upload id)]"""
        found, more = [], {}
        while True:
            page = self.call("list_multipart_uploads", Prefix=prefix, **more)
            # Not every store heeds the prefix.
            found += [(entry["Key"], entry["UploadId"]) for entry in page.get("Uploads", [])
                      if entry["Key"].startswith(prefix)]
            if not page.get("IsTruncated"):
                return found
            more = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}

    def create_upload(self, key):
        return self.call("create_multipart_upload", Key=key)["UploadId"]

    def abort(self, key, upload_id):
        self.call("abort_multipart_upload", Key=key, UploadId=upload_id)


def storage_class(head):
    """S3 leaves the header out for STANDARD."""
    return head.get("StorageClass") or "STANDARD"


def sse(head):
    """None where the endpoint does not report it."""
    return head.get("ServerSideEncryption")


def stored_otherwise(head, key, expected_class, expected_sse):
    """How an object is stored otherwise than expected; encryption is compared where the endpoint reports it."""
    found = []
    if storage_class(head) != expected_class:
        found.append(f"{key}: storage class {storage_class(head)}, expected {expected_class}")
    if expected_sse not in ("", "none") and sse(head) not in (None, expected_sse):
        found.append(f"{key}: encrypted with {sse(head)}, expected {expected_sse}")
    return found


def remove_all(store, prefix):
    """Deletes every object below `prefix`, which ends in a slash, and ends every upload; returns how many of each."""
    keys, uploads = store.list(prefix), store.open_uploads(prefix)
    for key, upload_id in uploads:
        store.abort(key, upload_id)
    for key in keys:
        store.delete(key)
    return len(keys), len(uploads)
