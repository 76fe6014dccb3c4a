"""A certificate for the sandbox's own address, made at every start and trusted by its kubeconfig only.

kubectl sends a bearer token over TLS only; behind the proxy plain HTTP on loopback does as well.
"""

import ipaddress
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


def server_context(host: str, now: float) -> tuple[ssl.SSLContext, bytes]:
    """A TLS context for `host` (an IP address or a name), and its self-signed certificate as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = _certificate(host, key, datetime.fromtimestamp(now, UTC))
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    # The ssl module reads certificates from files only; this directory is private and short-lived.
    with tempfile.TemporaryDirectory() as directory:
        chain = Path(directory) / "sandbox.pem"
        chain.touch(mode=0o600)
        chain.write_bytes(private + pem)
        context.load_cert_chain(chain)
    return context, pem


def _certificate(host: str, key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "kubewitness sandbox")])
    try:
        address: x509.GeneralName = x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        address = x509.DNSName(host)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        # An hour of slack for clocks that disagree.
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=365))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
