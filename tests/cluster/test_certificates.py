"""Certificates and kubeconfigs of the test cluster."""

import base64
import datetime as dt
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from tests.cluster.certificates import LIFETIME, Authority


def test_a_client_certificate_names_a_user_and_groups(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "test CA")
    pair = authority.issue("alice", "alice", "dev", "ops")
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    certificate.verify_directly_issued_by(
        x509.load_pem_x509_certificate(authority.pair.certificate.read_bytes())
    )
    groups = certificate.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
    assert [group.value for group in groups] == ["dev", "ops"]
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    left = certificate.not_valid_after_utc - dt.datetime.now(dt.UTC)
    assert dt.timedelta() < left <= LIFETIME
    assert pair.key.stat().st_mode & 0o777 == 0o600


def test_a_server_certificate_names_its_hosts(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "test CA")
    pair = authority.issue("server", "server", hosts=("10.0.0.1", "kubernetes.default"))
    certificate = x509.load_pem_x509_certificate(pair.certificate.read_bytes())
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [str(name.value) for name in names] == ["10.0.0.1", "kubernetes.default"]
    purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert ExtendedKeyUsageOID.SERVER_AUTH in purposes


def test_a_kubeconfig_has_everything_inside(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "ca", "test CA")
    pair = authority.issue("alice", "alice")
    file = authority.kubeconfig("alice", "https://10.0.0.1:6443", pair)
    config = yaml.safe_load(file.read_text())
    assert config["current-context"] == config["contexts"][0]["name"] == "alice"
    assert config["clusters"][0]["cluster"]["server"] == "https://10.0.0.1:6443"
    key = config["users"][0]["user"]["client-key-data"]
    assert base64.b64decode(key) == pair.key.read_bytes()
    assert file.stat().st_mode & 0o777 == 0o600
