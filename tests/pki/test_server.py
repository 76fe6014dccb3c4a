import stat
from pathlib import Path

import pytest
from cryptography import x509

from proxy.clock import ManualClock
from proxy.pki.authorities import Authorities
from proxy.pki.keys import key_pem, new_key
from proxy.pki.server import server_certificate

DAY = 86_400.0
NAMES = ("localhost", "127.0.0.1", "::1")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def authorities(tmp_path: Path, clock: ManualClock) -> Authorities:
    return Authorities.open(tmp_path, clock=clock)


def test_made_once_and_kept(authorities: Authorities, clock: ManualClock) -> None:
    first = server_certificate(authorities, NAMES, clock=clock)
    clock.advance(59 * DAY)
    again = server_certificate(authorities, tuple(reversed(NAMES)), clock=clock)
    assert (first.reissued, again.reissued) == (True, False)
    assert stat.S_IMODE(first.key.stat().st_mode) == 0o600
    assert first.not_after == again.not_after


def test_renewed_with_a_third_of_its_life_left(
    authorities: Authorities, clock: ManualClock
) -> None:
    first = server_certificate(authorities, NAMES, clock=clock)
    clock.advance(61 * DAY)
    renewed = server_certificate(authorities, NAMES, clock=clock)
    assert renewed.reissued
    assert renewed.not_after > first.not_after


def test_other_names_make_another(authorities: Authorities, clock: ManualClock) -> None:
    server_certificate(authorities, NAMES, clock=clock)
    assert server_certificate(authorities, ("proxy.example.com",), clock=clock).reissued


@pytest.mark.parametrize(
    ("file", "content"),
    [("server.crt", b""), ("server.key", b"x"), ("server.key", key_pem(new_key()))],
    ids=["certificate", "key", "another-key"],
)
def test_damage_is_repaired(
    authorities: Authorities, clock: ManualClock, file: str, content: bytes
) -> None:
    server_certificate(authorities, NAMES, clock=clock)
    (authorities.directory / file).write_bytes(content)
    assert server_certificate(authorities, NAMES, clock=clock).reissued
    assert not server_certificate(authorities, NAMES, clock=clock).reissued


def test_follows_a_rotation_only_when_every_client_knows_the_new_authority(
    authorities: Authorities, clock: ManualClock
) -> None:
    server_certificate(authorities, NAMES, clock=clock)
    clock.advance(DAY)
    rotated = authorities.rotate()
    assert not server_certificate(rotated, NAMES, clock=clock).reissued
    clock.advance(30 * DAY)
    made = server_certificate(rotated, NAMES, clock=clock)
    assert made.reissued
    certificate = x509.load_pem_x509_certificate(made.certificate.read_bytes())
    certificate.verify_directly_issued_by(rotated.current.certificate)
