"""`helm test`: the proxy answers through its Service, and every replica is ready and measured.

Only the standard library: it runs in the proxy's own image.
"""

import http.client
import json
import os
import socket
import ssl
import sys
import time
import urllib.request

SERVICE = os.environ["TEST_SERVICE"]
NAME = os.environ["TEST_NAME"]
PORT = int(os.environ["TEST_PORT"])
PODS = os.environ["TEST_PODS"].split(",")
CLUSTER = os.environ["TEST_CLUSTER"]
AUTHORITY = os.environ["TEST_AUTHORITY"]
LIMIT = float(os.environ["TEST_SECONDS"])


def the_service_answers_who_are_you() -> None:
    """TLS under its own name, and 401 as a Status for somebody without a credential."""
    context = ssl.create_default_context(cafile=AUTHORITY)
    # Trust what was given, also when it is the certificate itself.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    connection = http.client.HTTPConnection(SERVICE, PORT)
    plain = socket.create_connection((SERVICE, PORT), timeout=10)
    connection.sock = context.wrap_socket(plain, server_hostname=NAME)
    connection.request(
        "GET", "/clusters/any/api/v1/namespaces", headers={"Accept": "application/json"}
    )
    answer = connection.getresponse()
    status = json.loads(answer.read())
    if answer.status != 401 or status.get("kind") != "Status":
        raise ValueError(f"expected 401 and a Status, got {answer.status}: {status}")


def every_replica_is_ready() -> None:
    """`/readyz` of each pod."""
    for pod in PODS:
        with urllib.request.urlopen(f"http://{pod}/readyz?verbose", timeout=10) as answer:
            text = answer.read().decode()
        if "[-]" in text:
            raise ValueError(f"{pod}: {text}")


def every_replica_is_measured_and_reaches_the_cluster() -> None:
    """`/metrics` of each pod, and in them that the cluster answers."""
    wanted = ["kubewitness_build_info", "kubewitness_audit_state"]
    wanted += [f'kubewitness_cluster_up{{cluster="{CLUSTER}"}} 1.0'] if CLUSTER else []
    for pod in PODS:
        with urllib.request.urlopen(f"http://{pod}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        missing = [each for each in wanted if each not in text]
        if missing:
            raise ValueError(f"{pod}: /metrics has no {', '.join(missing)}")


def within(limit: float, check) -> None:
    """Try until it holds: a Service needs a moment after the pods are ready."""
    deadline = time.monotonic() + limit
    while True:
        try:
            check()
        except (OSError, ValueError, http.client.HTTPException) as error:
            if time.monotonic() > deadline:
                sys.exit(f"FAILED {check.__name__}: {type(error).__name__}: {error}")
            time.sleep(1)
        else:
            print(f"ok {check.__name__.replace('_', ' ')}", flush=True)
            return


for each in (
    the_service_answers_who_are_you,
    every_replica_is_ready,
    every_replica_is_measured_and_reaches_the_cluster,
):
    within(LIMIT, each)
