"""kubectl logs, with times that the test owns."""

import pytest

from tests.sandbox.transcripts import Kubectl


@pytest.fixture
async def ready(kubectl: Kubectl) -> Kubectl:
    await kubectl.play("$ wait --for=condition=Available deploy/redis -n shop --timeout=5s")
    return kubectl


async def test_logs_begin_at_the_beginning(ready: Kubectl) -> None:
    await ready.play("""
    $ logs deploy/redis -n shop --timestamps
      20…Z starting
    $ logs deploy/redis -n shop --tail=0
    $ logs deploy/redis -n shop --limit-bytes=5
      start
    $ logs deploy/redis -n shop -c nope
      error: container nope is not valid for pod redis-…
      -> 1
    $ logs deploy/redis -n shop --previous
      Error from server (BadRequest): previous terminated container "redis" in pod … not found
      -> 1
    """)


async def test_following_ends_with_the_container(ready: Kubectl) -> None:
    await ready.play("""
    $ run short --image=job --restart=Never -n shop
      pod/short created
    $ wait --for=condition=Ready pod/short -n shop --timeout=5s
      pod/short condition met
    $ logs -f short -n shop
      starting
      ready
    """)
