"""An account of S3 at a moto server: `script.py prepare|list ENDPOINT [KEY_ID KEY]`, answers on standard output.

From the fifth call on the server checks keys, rights and signatures (`INITIAL_NO_AUTH_ACTION_COUNT=4`).
"""

import json
import sys
from typing import Any

import boto3  # pyright: ignore[reportMissingImports] - in the environment of moto

BUCKET = "traces"
_ALLOWED = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


def main() -> None:
    """Take command and endpoint from the command line."""
    command, endpoint, *key = sys.argv[1:]
    print(json.dumps(prepare(endpoint) if command == "prepare" else read(endpoint, *key)))  # noqa: T201


def client(service: str, endpoint: str, key_id: str = "none", key: str = "none") -> Any:
    """Return a client of a service."""
    return boto3.client(  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        service, endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id=key_id, aws_secret_access_key=key
    )


def prepare(endpoint: str) -> dict[str, str]:
    """Make a bucket, and a user who may use it; return the user's key."""
    client("s3", endpoint).create_bucket(Bucket=BUCKET)
    iam = client("iam", endpoint)
    iam.create_user(UserName="gateway")
    iam.put_user_policy(UserName="gateway", PolicyName="s3", PolicyDocument=json.dumps(_ALLOWED))
    made = iam.create_access_key(UserName="gateway")["AccessKey"]
    return {"accessKeyId": made["AccessKeyId"], "secretAccessKey": made["SecretAccessKey"]}


def read(endpoint: str, key_id: str, key: str) -> dict[str, Any]:
    """Return the objects of the bucket by their keys."""
    s3 = client("s3", endpoint, key_id, key)
    found = s3.list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {each["Key"]: s3.get_object(Bucket=BUCKET, Key=each["Key"])["Body"].read().decode() for each in found}


if __name__ == "__main__":
    main()
