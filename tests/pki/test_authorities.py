import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
)

from proxy.clock import ManualClock
from proxy.errors import InvalidInputError, SettingsError
from proxy.pki.authorities import Authorities, authority_of
from proxy.pki.authority import AUTHORITY_LIFE, Authority, new_authority, pem
from proxy.pki.keys import fingerprint, key_pem, new_key
from proxy.settings import TLS, Credentials

DAY = 86_400.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def opened(path: Path, clock: ManualClock, tls: TLS | None = None) -> Authorities:
    return Authorities.open(path / "pki", clock=clock, tls=tls)


def external(path: Path, authority: Authority) -> TLS:
    (path / "x.crt").write_bytes(pem(authority.certificate, *authority.chain))
    (path / "x.key").write_bytes(key_pem(authority.key))
    return TLS(ca_cert_file=path / "x.crt", ca_key_file=path / "x.key")


def test_the_first_start_makes_one_and_the_next_finds_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    first = opened(tmp_path, clock)
    again = opened(tmp_path, clock)
    assert first.current.fingerprint == again.current.fingerprint
    assert stat.S_IMODE((tmp_path / "pki" / "ca.key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "pki").stat().st_mode) == 0o700
    assert {path.name for path in (tmp_path / "pki").iterdir()} == {"ca.crt", "ca.key"}


def test_many_first_starts_at_once_agree(tmp_path: Path, clock: ManualClock) -> None:
    with ThreadPoolExecutor(8) as pool:
        prints = set(pool.map(lambda _: opened(tmp_path, clock).current.fingerprint, range(16)))
    assert len(prints) == 1


def test_a_start_cut_short_after_the_key_is_completed(tmp_path: Path, clock: ManualClock) -> None:
    key = new_key()
    (tmp_path / "pki").mkdir()
    (tmp_path / "pki" / "ca.key").write_bytes(key_pem(key))
    assert opened(tmp_path, clock).current.certificate.public_key() == key.public_key()


def test_the_longest_lifetime_comes_from_settings(tmp_path: Path, clock: ManualClock) -> None:
    authorities = Authorities.open(tmp_path, clock=clock, credentials=Credentials(max_ttl="1h"))
    public = new_key().public_key()
    with pytest.raises(InvalidInputError, match="1h"):
        authorities.issue(public, user="alice", ttl=3601)
    assert authorities.issue(public, user="alice", ttl=3601, max_ttl=7200).user == "alice"


class TestRotation:
    def test_the_new_one_signs_and_both_are_trusted(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        before = opened(tmp_path, clock)
        clock.advance(DAY)
        after = before.rotate()
        issued = after.issue(new_key().public_key(), user="alice", ttl=60)
        x509.load_pem_x509_certificate(issued.pem).verify_directly_issued_by(
            after.current.certificate
        )
        reread = opened(tmp_path, clock)
        for authorities in (after, reread):
            assert authorities.trusted == (after.current.certificate, before.current.certificate)
        assert reread.bundle_pem().count(b"BEGIN CERTIFICATE") == 2

    def test_the_server_stays_with_the_old_one_until_old_kubeconfigs_ended(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        old = opened(tmp_path, clock)
        clock.advance(100 * DAY)
        new = old.rotate()
        assert new.serving().fingerprint == old.current.fingerprint
        clock.advance(29 * DAY)
        assert opened(tmp_path, clock).serving().fingerprint == old.current.fingerprint
        clock.advance(1 * DAY)
        assert opened(tmp_path, clock).serving().fingerprint == new.current.fingerprint

    def test_the_first_one_serves_at_once(self, tmp_path: Path, clock: ManualClock) -> None:
        authorities = opened(tmp_path, clock)
        assert authorities.serving() is authorities.current

    def test_an_ended_one_is_no_longer_trusted(self, tmp_path: Path, clock: ManualClock) -> None:
        old = opened(tmp_path, clock)
        clock.advance(AUTHORITY_LIFE - DAY)
        new = old.rotate()
        clock.advance(2 * DAY)
        assert new.trusted == (new.current.certificate,)
        assert opened(tmp_path, clock).trusted == (new.current.certificate,)

    def test_many_rotations_keep_all(self, tmp_path: Path, clock: ManualClock) -> None:
        authorities = opened(tmp_path, clock)
        for _ in range(3):
            authorities = authorities.rotate()
        assert len(opened(tmp_path, clock).trusted) == 4

    def test_one_of_another_replica_is_adopted_as_if_made_here(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        here = opened(tmp_path / "here", clock)
        first = here.current.fingerprint
        clock.advance(DAY)
        there = opened(tmp_path / "there", clock)
        adopted = here.adopt(there.current)
        assert adopted.current.fingerprint == there.current.fingerprint
        assert {item.subject for item in adopted.trusted} == {
            item.subject for item in (here.current.certificate, there.current.certificate)
        }
        again = opened(tmp_path / "here", clock)
        assert again.current.fingerprint == there.current.fingerprint
        assert again.adopt(there.current) is again
        # An older one is trusted, and does not sign.
        late = there.adopt(here.current)
        assert late.current.fingerprint == there.current.fingerprint
        assert first in {fingerprint(item) for item in opened(tmp_path / "there", clock).trusted}

    def test_a_key_of_another_is_no_authority(self, clock: ManualClock) -> None:
        one, two = (new_authority(new_key(), clock.now()) for _ in range(2))
        good = authority_of(pem(one.certificate), key_pem(one.key))
        assert good.fingerprint == one.fingerprint
        for certificate, key in (
            (pem(one.certificate), key_pem(two.key)),
            (b"", key_pem(one.key)),
            (pem(one.certificate), b""),
        ):
            with pytest.raises(SettingsError):
                authority_of(certificate, key)

    def test_cut_short_between_key_and_certificate_it_is_finished(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        opened(tmp_path, clock)
        key = new_key()
        made = new_authority(key, clock.now())
        (tmp_path / "pki" / "ca.key").write_bytes(key_pem(key))
        (tmp_path / "pki" / "ca-next.crt").write_bytes(pem(made.certificate))
        assert opened(tmp_path, clock).current.fingerprint == made.fingerprint

    def test_cut_short_before_that_it_never_happened(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        before = opened(tmp_path, clock)
        (tmp_path / "pki" / "ca-next.crt").write_bytes(
            pem(new_authority(new_key(), clock.now()).certificate)
        )
        (tmp_path / "pki" / "ca-old-1.key").write_bytes(key_pem(before.current.key))
        assert opened(tmp_path, clock).current.fingerprint == before.current.fingerprint
        opened(tmp_path, clock).rotate()


class TestExternal:
    def test_signs(self, tmp_path: Path, clock: ManualClock) -> None:
        root = new_authority(new_key(), clock.now())
        authorities = opened(tmp_path, clock, external(tmp_path, root))
        assert authorities.current.fingerprint == root.fingerprint
        assert not (tmp_path / "pki" / "ca.key").exists()
        with pytest.raises(SettingsError, match="external"):
            authorities.rotate()

    def test_the_own_one_used_before_stays_trusted(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        own = opened(tmp_path, clock).current.certificate
        root = new_authority(new_key(), clock.now())
        assert opened(tmp_path, clock, external(tmp_path, root)).trusted == (root.certificate, own)

    def test_another_key_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        tls = external(tmp_path, new_authority(new_key(), clock.now()))
        (tmp_path / "x.key").write_bytes(key_pem(new_key()))
        with pytest.raises(SettingsError, match=r"x\.key: is not the key of"):
            opened(tmp_path, clock, tls)

    @pytest.mark.parametrize(
        ("shift", "message"), [(AUTHORITY_LIFE + DAY, "expired"), (-DAY, "valid only from")]
    )
    def test_its_time_is_checked(
        self, tmp_path: Path, clock: ManualClock, shift: float, message: str
    ) -> None:
        tls = external(tmp_path, new_authority(new_key(), clock.now()))
        clock.step(shift)
        with pytest.raises(SettingsError, match=message):
            opened(tmp_path, clock, tls)

    def test_a_leaf_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        key = new_key()
        leaf = new_authority(new_key(), clock.now()).issue(
            key.public_key(), user="alice", ttl=60, max_ttl=60, now=clock.now()
        )
        certificate = x509.load_pem_x509_certificate(leaf.pem)
        with pytest.raises(SettingsError, match="not a certificate authority"):
            opened(tmp_path, clock, external(tmp_path, Authority(certificate, key)))

    def test_an_encrypted_key_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        key = new_key()
        tls = external(tmp_path, new_authority(key, clock.now()))
        (tmp_path / "x.key").write_bytes(
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
        )
        with pytest.raises(SettingsError, match="encrypted"):
            opened(tmp_path, clock, tls)

    @pytest.mark.parametrize("content", [b"", b"nonsense"])
    @pytest.mark.parametrize("file", ["x.crt", "x.key"])
    def test_garbage_is_refused(
        self, tmp_path: Path, clock: ManualClock, file: str, content: bytes
    ) -> None:
        tls = external(tmp_path, new_authority(new_key(), clock.now()))
        (tmp_path / file).write_bytes(content)
        with pytest.raises(SettingsError, match=f"{file}: does not hold"):
            opened(tmp_path, clock, tls)

    def test_a_missing_file_is_named(self, tmp_path: Path, clock: ManualClock) -> None:
        tls = TLS(ca_cert_file=tmp_path / "no.crt", ca_key_file=tmp_path / "no.key")
        with pytest.raises(SettingsError, match=r"no\.crt: cannot be read"):
            opened(tmp_path, clock, tls)

    def test_half_of_the_pair_is_refused(self, tmp_path: Path, clock: ManualClock) -> None:
        with pytest.raises(SettingsError, match="together"):
            opened(tmp_path, clock, TLS(ca_cert_file=tmp_path / "x.crt"))

    def test_former_ones_beside_it_stay_trusted_and_serve(
        self, tmp_path: Path, clock: ManualClock
    ) -> None:
        former, root = (new_authority(new_key(), clock.now()) for _ in range(2))
        tls = external(tmp_path, root)
        (tmp_path / "ca-old-1.crt").write_bytes(pem(former.certificate))
        (tmp_path / "ca-old-1.key").write_bytes(key_pem(former.key))
        authorities = opened(tmp_path, clock, tls)
        assert authorities.current.fingerprint == root.fingerprint
        assert set(authorities.trusted) == {root.certificate, former.certificate}
