"""Which certificate each listener shows, and what keeps it current."""

from pathlib import Path

import pytest
from cryptography import x509

from proxy.clock import SystemClock
from proxy.data_dir import DataDir
from proxy.errors import SettingsError
from proxy.metrics import Metrics
from proxy.pki.authorities import Authorities, read_certificates
from proxy.pki.server import server_certificate
from proxy.runtime.identity import Identity
from proxy.settings import TLS, Settings


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    found = DataDir(tmp_path / "data")
    found.create()
    return found


def identity(data: DataDir, metrics: Metrics | None = None, /, **tls: object) -> Identity:
    settings = Settings(data_dir=data.path, tls=TLS.model_validate(tls))
    return Identity(settings, data, SystemClock(), metrics or Metrics(), issuing=True)


def names(data: DataDir) -> set[str]:
    certificate = read_certificates(data.pki / "server.crt")[0]
    found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return {str(name.value) for name in found}


def test_our_certificate_is_for_the_names_and_always_for_this_machine(data: DataDir) -> None:
    identity(data, names=("proxy.example", "10.0.0.1"))
    assert names(data) == {"proxy.example", "10.0.0.1", "localhost", "127.0.0.1", "::1"}


def test_both_listeners_show_it(data: DataDir) -> None:
    found = identity(data)
    assert found.gateway is found.control


def test_the_data_plane_shows_the_one_that_is_configured(data: DataDir, tmp_path: Path) -> None:
    other = Authorities.open(tmp_path / "other", clock=SystemClock())
    made = server_certificate(other, ["proxy.example"], clock=SystemClock())
    found = identity(data, cert_file=made.certificate, key_file=made.key)
    assert found.gateway is not found.control
    assert found.server_expiry() == made.not_after


@pytest.mark.parametrize("given", ["cert_file", "key_file"])
def test_half_a_pair_is_refused(data: DataDir, tmp_path: Path, given: str) -> None:
    with pytest.raises(SettingsError, match="given together or not at all"):
        identity(data, **{given: tmp_path / "x"})


def test_expiry_is_a_metric(data: DataDir) -> None:
    metrics = Metrics()
    found = identity(data, metrics)
    name = "kubewitness_certificate_expiry_timestamp_seconds"
    assert metrics.registry.get_sample_value(name, {"name": "server"}) == found.server_expiry()
    authority = metrics.registry.get_sample_value(name, {"name": "authority"})
    assert authority is not None
    assert authority > found.server_expiry()


def test_a_rotated_authority_is_seen_with_the_next_look(data: DataDir) -> None:
    found = identity(data)
    rotated = found.authorities().rotate()
    assert found.gateway.refresh()
    assert found.authorities().current.fingerprint == rotated.current.fingerprint
