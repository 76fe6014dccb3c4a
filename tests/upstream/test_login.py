from pathlib import Path

import pytest

from proxy.upstream.access import Access
from proxy.upstream.login import TOKEN_FILE_SECONDS, Login, LoginError, StaticLogin, TokenFileLogin

SERVER = "https://k"


@pytest.mark.parametrize(
    ("access", "authorization", "certificate"),
    [
        (Access(SERVER, token="t"), b"Bearer t", None),
        (Access(SERVER, basic=("u", "p:w")), b"Basic dTpwOnc=", None),
        (Access(SERVER, certificate_pem=b"C", key_pem=b"K"), None, (b"C", b"K")),
        (Access(SERVER, certificate_pem=b"C", key_pem=b"K", token="t"), b"Bearer t", (b"C", b"K")),
    ],
)
async def test_static(
    access: Access, authorization: bytes | None, certificate: tuple[bytes, bytes] | None
) -> None:
    assert await StaticLogin(access).obtain() == Login(authorization, certificate)


async def test_a_token_file_is_read_each_time(tmp_path: Path) -> None:
    path = tmp_path / "token"
    source = TokenFileLogin(path)
    for token in ("one", "two\n"):
        path.write_text(token)
        login = await source.obtain()
        assert login.authorization == b"Bearer " + token.strip().encode()
        assert login.again_after == TOKEN_FILE_SECONDS


async def test_a_token_file_beside_a_certificate(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("t")
    access = Access(SERVER, certificate_pem=b"C", key_pem=b"K")
    assert (await TokenFileLogin(tmp_path / "token", access).obtain()).certificate == (b"C", b"K")


@pytest.mark.parametrize("content", [b"", b"\n", b"hunter2 x", b"hunter2\r\nX: y", b"hunter2\xff"])
async def test_what_cannot_be_a_token_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "token").write_bytes(content)
    with pytest.raises(LoginError) as caught:
        await TokenFileLogin(tmp_path / "token").obtain()
    assert "hunter2" not in str(caught.value)


async def test_a_missing_token_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(LoginError, match=r"gone: No such file"):
        await TokenFileLogin(tmp_path / "gone").obtain()


def test_secrets_are_not_in_its_representation() -> None:
    assert "hunter2" not in repr(Login(b"Bearer hunter2", (b"C", b"hunter2")))
