"""Private keys, signing requests, and the names certificates go by.

A credential's key is made where it will be used and never travels; only the request does.
"""

import hashlib
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID

from proxy.errors import InvalidInputError

PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
PublicKey = ec.EllipticCurvePublicKey | rsa.RSAPublicKey | ed25519.Ed25519PublicKey

_SHORTEST_RSA: Final = 2048
_LARGEST_REQUEST: Final = 64 * 1024
"""Bytes; a signing request has about 500, 2,000 with a long RSA key."""


def new_key() -> ec.EllipticCurvePrivateKey:
    """A new ECDSA P-256 key, which every TLS stack in use accepts."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: PrivateKey) -> bytes:
    """`key` as unencrypted PKCS #8 PEM. Belongs in a file of mode 0600 and nowhere else."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )


def csr(key: PrivateKey, user: str) -> bytes:
    """A signing request (PEM) that proves possession of `key`.

    `user` is only a note for people: the authority decides the subject by itself.
    """
    # A longer common name cannot be encoded (RFC 5280, ub-common-name).
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, user[:64] or "kubewitness")])
    request = x509.CertificateSigningRequestBuilder().subject_name(name)
    return request.sign(key, signature_hash(key)).public_bytes(serialization.Encoding.PEM)


def requested_key(request: bytes) -> PublicKey:
    """The public key of a signing request (PEM), after checking that the sender owns it.

    Subject and extensions of the request are ignored. Raises InvalidInputError when it cannot be
    read, its signature does not verify, or the key is too weak or of an unsupported kind.
    """
    try:
        if len(request) > _LARGEST_REQUEST:
            raise InvalidInputError("The signing request is too large.")
        parsed = x509.load_pem_x509_csr(request)
        if not parsed.is_signature_valid:
            raise InvalidInputError("The signing request is not signed by its own key.")
        key = parsed.public_key()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature) as error:
        raise InvalidInputError(
            "The signing request cannot be read.", hint="It must be PKCS #10 in PEM."
        ) from error
    return checked(key)


def checked(key: object) -> PublicKey:
    """`key` when it may be in a certificate of ours; else raises InvalidInputError."""
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _SHORTEST_RSA:
            raise InvalidInputError(
                f"RSA keys need {_SHORTEST_RSA} bits, this one has {key.key_size}."
            )
        return key
    if isinstance(key, ec.EllipticCurvePublicKey):
        if not isinstance(key.curve, (ec.SECP256R1, ec.SECP384R1, ec.SECP521R1)):
            raise InvalidInputError(f"The curve {key.curve.name} is not supported; use P-256.")
        return key
    if isinstance(key, ed25519.Ed25519PublicKey):
        return key
    raise InvalidInputError("The key is of an unsupported kind; use ECDSA P-256.")


def signature_hash(key: PrivateKey) -> hashes.SHA256 | None:
    """The digest to sign with; Ed25519 has its own."""
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()


def serial_text(certificate: x509.Certificate) -> str:
    """The serial number as events and state write it: lower-case hex without leading zeros."""
    return f"{certificate.serial_number:x}"


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256 of the certificate's DER in lower-case hex."""
    return hashlib.sha256(certificate.public_bytes(serialization.Encoding.DER)).hexdigest()
