"""TLS towards clusters: whom we trust and which certificate we show."""

import contextlib
import os
import ssl
import tempfile
from collections.abc import Iterator
from pathlib import Path

from proxy.upstream.access import AccessError


def client_context(
    *,
    ca_pem: bytes | None,
    insecure: bool = False,
    certificate_pem: bytes | None = None,
    key_pem: bytes | None = None,
) -> ssl.SSLContext:
    """A context for connections to one cluster: TLS 1.2 or newer, HTTP/1.1, verification on.

    Without `ca_pem` the machine's trust store decides. Raises AccessError for PEM that cannot be
    used, without quoting it.
    """
    context = ssl.create_default_context(cafile=None, cadata=_ca_text(ca_pem))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    # Python 3.13 made this a default; authorities of real clusters lack the key identifiers that
    # it insists on, and kubectl accepts them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    # Trust what was given even when it is an intermediate, as Go does.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if certificate_pem is not None and key_pem is not None:
        _load_pair(context, certificate_pem, key_pem)
    return context


def _ca_text(ca_pem: bytes | None) -> str | None:
    if ca_pem is None:
        return None
    text = ca_pem.decode("latin-1")
    try:
        # An empty text would mean the machine's trust store instead of nobody.
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise AccessError("certificate-authority is not a certificate in PEM.") from error
    return text


def _load_pair(context: ssl.SSLContext, certificate_pem: bytes, key_pem: bytes) -> None:
    with _private_file(certificate_pem + b"\n" + key_pem) as path:
        try:
            # A password is passed so that OpenSSL fails on an encrypted key instead of asking the
            # terminal for one.
            context.load_cert_chain(path, password="")
        except (ssl.SSLError, ValueError) as error:
            raise AccessError(
                "The client certificate and key cannot be used.",
                hint="They must be PEM, belong together, and the key must not be encrypted.",
            ) from error


@contextlib.contextmanager
def _private_file(data: bytes) -> Iterator[str]:
    """A path that yields `data` for as long as the block runs; OpenSSL reads only from files."""
    if hasattr(os, "memfd_create"):
        # A file in memory: a key that is encrypted at rest never touches a disk in the clear.
        fd = os.memfd_create("kubewitness")
        try:
            os.write(fd, data)
            yield f"/proc/self/fd/{fd}"
        finally:
            os.close(fd)
        return
    fd, path = tempfile.mkstemp()  # mode 0600
    try:
        os.write(fd, data)
        os.close(fd)
        yield path
    finally:
        Path(path).unlink()
