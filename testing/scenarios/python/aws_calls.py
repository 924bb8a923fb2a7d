"""Calls AWS for `cargo xtask deploy-test`. Each line of JSON, `[service, operation, parameters]`, is a call
of boto3; the answer is a line `{"answer": …}` or `{"error": code, "message": …}`.

One process makes all calls, since loading boto3 takes a second.
"""

import functools
import json
import sys

import boto3
from botocore.exceptions import ClientError


@functools.cache
def client(service):
    return boto3.client(service)


def plain(value):
    """The text of what JSON has no form for: the payload of a function, and times."""
    return value.read().decode() if hasattr(value, "read") else str(value)


def call(service, operation, parameters):
    try:
        answer = getattr(client(service), operation)(**parameters)
    except ClientError as error:
        return {"error": error.response["Error"]["Code"], "message": str(error)}
    answer.pop("ResponseMetadata", None)
    return {"answer": answer}


for line in sys.stdin:
    print(json.dumps(call(*json.loads(line)), default=plain), flush=True)
