"""What replicas share, made once: the authority and the state's key, as files or as a Secret.

A Secret is only ever created, never read or changed: whoever does that needs no right but to create
Secrets, and what is there stays, so doing it again at every upgrade is safe.
"""

import base64
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from proxy.audit.acts import Actor, Acts
from proxy.audit.event import SystemEvent
from proxy.clock import Clock
from proxy.errors import ConflictError, UnavailableError
from proxy.files import create_private
from proxy.pki.authority import new_authority, pem
from proxy.pki.keys import fingerprint, key_pem, new_key
from proxy.reaching import Upstream
from proxy.runtime.noted import FILE, GENERATE, as_file, note_of
from proxy.state.notes import Note
from proxy.state.sealing import KEY_BYTES
from proxy.upstream.asking import ask
from proxy.upstream.cluster import Target
from proxy.upstream.connection import UpstreamError
from proxy.upstream.handle import load_target
from proxy.upstream.kubeclient import own_namespace
from proxy.upstream.pool import Pool

FILES: Final = (FILE, "ca.crt", "ca.key", "state.key")
_LABELS: Final = {
    "app.kubernetes.io/name": "kubewitness",
    "app.kubernetes.io/managed-by": "kubewitness",
}
_NOTE: Final = "Authority and state key of kubewitness: back it up; every credential depends on it."
_CREATED: Final = 201
_TAKEN: Final = 409


async def new_shared(clock: Clock, actor: Actor, place: str) -> dict[str, bytes]:
    """A new authority and a new key for the state, as the files of `FILES`, for `place`.

    The first is a note of who made them: the server that uses them puts it on record.
    """
    key = new_key()
    certificate = new_authority(key, clock.now()).certificate
    notes: list[Note] = []

    async def note(event: SystemEvent) -> None:
        notes.append(note_of(event, clock))

    # What is made is kept together, in one directory or one Secret, or not at all.
    async with Acts(note, clock, actor).act(GENERATE, fingerprint(certificate), {"place": place}):
        pass
    content = (as_file(notes), pem(certificate), key_pem(key), os.urandom(KEY_BYTES))
    return dict(zip(FILES, content, strict=True))


def write_shared(directory: Path, content: Mapping[str, bytes]) -> None:
    """Write `content` into `directory` (mode 0600), which is made when it is missing.

    Raises ConflictError when one of the files is there, UnavailableError when it cannot be written;
    then none is left.
    """
    taken = [name for name in content if (directory / name).exists()]
    if taken:
        raise ConflictError(
            f"{directory / taken[0]} is there already.", hint="Name a directory without one."
        )
    made: list[Path] = []
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for name, data in content.items():
            create_private(directory / name, data)
            made.append(directory / name)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        raise UnavailableError(f"{directory}: {error.strerror or error}.") from error


async def create_own_secret(name: str, clock: Clock, actor: Actor) -> bool:
    """`create_secret` in the namespace of our own pod, by its service account.

    Raises AccessError outside a pod.
    """
    handle = await load_target(
        "the pod's cluster", None, upstream=Upstream(), in_cluster=True, clock=clock
    )
    try:
        content = await new_shared(clock, actor, f"secret {own_namespace()}/{name}")
        return await create_secret(handle.target, own_namespace(), name, content, clock=clock)
    finally:
        await handle.close()


async def create_secret(
    target: Target, namespace: str, name: str, content: Mapping[str, bytes], *, clock: Clock
) -> bool:
    """Create the Secret `name` with `content`; one that is there stays as it is.

    Returns whether it was created. Raises UnavailableError when the cluster does not answer or
    does not allow it.
    """
    document = {
        "apiVersion": "v1",
        "kind": "Secret",
        "type": "Opaque",
        "metadata": {
            "name": name,
            "labels": _LABELS,
            "annotations": {"kubernetes.io/description": _NOTE},
        },
        "data": {key: base64.b64encode(value).decode() for key, value in content.items()},
    }
    path = f"/api/v1/namespaces/{namespace}/secrets".encode()
    pool = Pool(Upstream(), clock)
    try:
        status, answer = await ask(pool, target, b"POST", path, [], json.dumps(document).encode())
    except UpstreamError as error:
        raise UnavailableError(f"The Secret {name!r} cannot be created: {error}.") from error
    finally:
        pool.close()
    if status == _TAKEN:
        return False
    if status != _CREATED:
        raise UnavailableError(
            f"The Secret {name!r} in {namespace!r} cannot be created: "
            f"the cluster answered {status}{_reason(answer)}.",
            hint="The account needs the right to create secrets in that namespace.",
        )
    return True


def _reason(answer: bytes) -> str:
    """What a Status says; it never repeats the object."""
    try:
        said = json.loads(answer)["reason"]
    except (ValueError, KeyError, TypeError):
        return ""
    return f" ({said})" if isinstance(said, str) else ""
