"""A moto server that enforces the rights of a user, for a test that changes them while it runs.

Prints a line of JSON: endpoint, access key, secret key. Then reads a JSON object a line and answers each with a line of JSON:
{"rights": POLICY} gives the user exactly these, {"put": KEY, "data": TEXT} stores an object, {"keys": true} tells all keys,
{"uploads": true} the keys of open uploads, {"lifecycle": RULES} gives the bucket these rules and tells them as they were read.
"""

import json
import logging
import os
import sys

os.environ["AWS_EC2_METADATA_DISABLED"] = "true"
logging.getLogger("werkzeug").setLevel(logging.ERROR)

import boto3  # noqa: E402
from moto import settings  # noqa: E402
from moto.core import serialize  # noqa: E402
from moto.iam.access_control import S3IAMRequest  # noqa: E402
from moto.iam.models import iam_backends  # noqa: E402
from moto.s3.models import s3_backends  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

# Not what is looked at here, and wrong in moto 5.2.5: signatures of queries with a slash in them, and the name of what answers
# CompleteMultipartUpload, which the AWS SDK for Rust insists on.
S3IAMRequest.check_signature = lambda self: None
for kind in vars(serialize).values():
    if isinstance(kind, type) and "_serialize_body" in vars(kind):
        def body(self, wrapper, original=kind._serialize_body):
            name = "CompleteMultipartUpload"
            return original(self, {k.replace(f"{name}Response", f"{name}Result"): v for k, v in wrapper.items()})

        kind._serialize_body = body

BUCKET, USER, ACCOUNT = "logs", "logjam", "123456789012"

server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
server.start()
host, port = server.get_host_and_port()
reach = {
    "endpoint_url": f"http://{host}:{port}",
    "aws_access_key_id": "AKIATESTTESTTESTTEST",
    "aws_secret_access_key": "not-a-secret-at-all",
    "region_name": "us-east-1",
}
s3, iam = boto3.client("s3", **reach), boto3.client("iam", **reach)
s3.create_bucket(Bucket=BUCKET)
iam.create_user(UserName=USER)
key = iam.create_access_key(UserName=USER)["AccessKey"]
users = iam_backends[ACCOUNT]["aws"]
buckets = s3_backends[ACCOUNT]["aws"]
# From here on every request needs a right.
settings.INITIAL_NO_AUTH_ACTION_COUNT = 0


def unchecked(call):
    settings.INITIAL_NO_AUTH_ACTION_COUNT = float("inf")
    try:
        return call()
    finally:
        settings.INITIAL_NO_AUTH_ACTION_COUNT = 0


def answer(asked):
    if "rights" in asked:
        users.put_user_policy(USER, "rights", json.dumps(asked["rights"]))
        return {}
    if "put" in asked:
        unchecked(lambda: s3.put_object(Bucket=BUCKET, Key=asked["put"], Body=asked["data"].encode()))
        return {}
    if "keys" in asked:
        return sorted(buckets.buckets[BUCKET].keys.keys())
    if "uploads" in asked:
        return sorted(upload.key_name for upload in buckets.buckets[BUCKET].multiparts.values())
    if "lifecycle" in asked:
        rules = asked["lifecycle"]
        unchecked(lambda: s3.put_bucket_lifecycle_configuration(Bucket=BUCKET, LifecycleConfiguration=rules))
        return unchecked(lambda: s3.get_bucket_lifecycle_configuration(Bucket=BUCKET))["Rules"]
    raise ValueError(f"what is {asked}?")


print(json.dumps([reach["endpoint_url"], key["AccessKeyId"], key["SecretAccessKey"]]), flush=True)
for line in sys.stdin:
    print(json.dumps(answer(json.loads(line)), default=str), flush=True)
server.stop()
