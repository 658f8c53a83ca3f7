# Copyright (c) 2026, BudgetGuard TechOps contributors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Tokens and certificates, read by other programs than the one that makes them."""

from __future__ import annotations

import datetime
import socket
import subprocess
import typing as t
from pathlib import Path

import jwt
import pytest
from cryptography import x509

from ansible_collections.budgetguard.techops.plugins.module_utils import _ca, _tokens
from ansible_collections.budgetguard.techops.plugins.module_utils._gateway import AUDIENCE, denied_file
from tests.unit.gateway.tokens import STUDIO, Studio

NOW = datetime.datetime(2026, 11, 28, 12, 0, tzinfo=datetime.timezone.utc)
DAY = datetime.timedelta(days=1)
MANY = [f"ws-{number:04}" for number in range(3000)]


def _mint(studio: Studio, *names: str, now: datetime.datetime = NOW, **options: t.Any) -> dict[str, dict[str, str]]:
    return _tokens.mint(studio.signing_key, STUDIO, names, now, **options)


def _claims(studio: Studio, token: dict[str, str], now: datetime.datetime = NOW) -> dict[str, t.Any]:
    """Check a token as a library does that knows nothing of ours."""
    options: jwt.types.Options = {"verify_exp": False, "verify_nbf": False, "verify_iat": False}
    key = _tokens.public_key(studio.signing_key)
    found: dict[str, t.Any] = jwt.decode(
        token["Token"], key, algorithms=["ES256"], audience=AUDIENCE, issuer=STUDIO, options=options
    )
    return found


def test_another_library_takes_the_token(studio: Studio) -> None:
    token = _mint(studio, "ws-07")["ws-07"]
    found = _claims(studio, token)
    assert set(found) == {"iss", "aud", "sub", "iat", "nbf", "exp", "jti"}
    assert found["sub"] == "ws-07"
    assert found["iat"] == found["nbf"] <= NOW.timestamp() < found["exp"]
    assert (
        token["Expires"] == f"{datetime.datetime.fromtimestamp(found['exp'], datetime.timezone.utc):%Y-%m-%dT%H:%M:%SZ}"
    )
    with pytest.raises(jwt.InvalidSignatureError):
        jwt.decode(token["Token"], _tokens.public_key(studio.next_signing_key), algorithms=["ES256"], audience=AUDIENCE)


def test_all_tokens_of_a_large_studio_in_one_call(studio: Studio, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_network(*_arguments: object) -> t.NoReturn:
        raise AssertionError("tokens are made without a call")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    loaded: list[str] = []
    load = _tokens.load_key

    def count(key: str) -> t.Any:
        loaded.append(key)
        return load(key)

    monkeypatch.setattr(_tokens, "load_key", count)
    tokens = _mint(studio, *MANY)
    assert loaded == [studio.signing_key]
    assert list(tokens) == MANY
    assert len({token["Token"] for token in tokens.values()}) == len(MANY)
    assert len({_claims(studio, tokens[name])["jti"] for name in MANY[:50]}) == 50


def test_every_run_gives_the_same_token_until_a_third_of_its_life_is_left(studio: Studio) -> None:
    hours = [NOW + datetime.timedelta(hours=hour) for hour in range(0, 200 * 24, 6)]
    seen = [_mint(studio, "ws-07", now=hour)["ws-07"] for hour in hours]
    assert len({token["Token"] for token in seen}) in (4, 5)  # 200 days in steps of 60.
    for hour, token in zip(hours, seen, strict=True):
        left = _tokens_end(token) - hour
        assert 30 * DAY - datetime.timedelta(seconds=1) <= left <= 90 * DAY
    assert _mint(studio, "ws-07")["ws-07"] == _mint(studio, "ws-08", "ws-07")["ws-07"]


def _tokens_end(token: dict[str, str]) -> datetime.datetime:
    return datetime.datetime.strptime(token["Expires"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=datetime.timezone.utc)


def test_not_all_workstations_get_their_next_token_on_the_same_day(studio: Studio) -> None:
    ends = {token["Expires"][:10] for token in _mint(studio, *MANY[:300]).values()}
    assert len(ends) > 50


def test_a_workstation_that_is_allowed_again_gets_another_token(studio: Studio) -> None:
    moment = int(NOW.timestamp())
    old = _mint(studio, "ws-07")["ws-07"]
    new = _mint(studio, "ws-07", denied={"ws-07": moment}, now=NOW + DAY)["ws-07"]
    assert _claims(studio, old)["iat"] < moment == _claims(studio, new)["iat"]
    assert _claims(studio, old)["jti"] != _claims(studio, new)["jti"]
    # A time to come makes no token of the future.
    later = _mint(studio, "ws-07", denied={"ws-07": moment + 999})["ws-07"]
    assert _claims(studio, later)["iat"] == moment


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"studio": "my studio"}, "studio is 'my studio'"),
        ({"days": 0}, "token_days is 0"),
        ({"days": 9999}, "from 1 to 825"),
        ({"workstations": ['ws"7']}, "cannot be named in a token"),
        ({"signing_key": "secret text"}, "must be a private key"),
    ],
)
def test_what_makes_no_token_is_told(studio: Studio, wrong: dict[str, t.Any], told: str) -> None:
    given: dict[str, t.Any] = {
        "signing_key": studio.signing_key,
        "studio": STUDIO,
        "workstations": ["ws-07"],
        "now": NOW,
        **wrong,
    }
    with pytest.raises(_tokens.TokenError, match=told) as caught:
        _tokens.mint(**given)
    assert "secret text" not in str(caught.value)


def test_only_a_public_key_goes_to_gateways(studio: Studio) -> None:
    public = _tokens.public_key(studio.signing_key)
    assert _tokens.check_public_key("key", public) == public
    with pytest.raises(_tokens.TokenError, match="is a private key"):
        _tokens.check_public_key("key", studio.signing_key)
    with pytest.raises(_tokens.TokenError, match="P-256"):
        _tokens.check_public_key("key", "-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


def test_the_deny_list_has_a_line_for_either_meaning_of_a_name() -> None:
    denied = {"ws-07": "2026-11-28T12:00:00Z", "abc": NOW + DAY}
    assert denied_file(denied) == "".join(
        f"{kind}:{name} {int(moment.timestamp())}\n"
        for name, moment in (("abc", NOW + DAY), ("ws-07", NOW))
        for kind in ("sub", "jti")
    )
    assert denied_file(None) == ""
    assert denied_file({"_Zw5u6mKSXY00xRrNbu3oQ": NOW}).endswith(f"jti:_Zw5u6mKSXY00xRrNbu3oQ {int(NOW.timestamp())}\n")
    assert denied_file({"-Zw5u6mKSXY00xRrNbu3oQ": NOW}).endswith(f"jti:-Zw5u6mKSXY00xRrNbu3oQ {int(NOW.timestamp())}\n")
    with pytest.raises(ValueError, match=r"nim_gateway_denied\['ws-07'\] is 'soon'"):
        denied_file({"ws-07": "soon"})
    with pytest.raises(ValueError, match="must be the name"):
        denied_file({"ws 07\nsub:x": NOW})
    with pytest.raises(ValueError, match="must be the name"):
        denied_file({"ws-07\n": NOW})


# ---- certificates ----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority() -> tuple[str, str]:
    return _ca.new_ca(STUDIO, NOW)


def test_every_run_gives_the_same_certificate_until_a_third_of_its_life_is_left(authority: tuple[str, str]) -> None:
    days = [NOW + number * DAY for number in range(0, 60, 20)]
    seen = [_ca.leaf(*authority, ["nims.studio.example"], day) for day in days]
    assert len(set(seen)) <= 2
    assert _ca.leaf(*authority, ["nims.studio.example"], days[0] + datetime.timedelta(seconds=1)) == seen[0]
    for day, (certificate, _key) in zip(days, seen, strict=True):
        left = x509.load_pem_x509_certificate(certificate.encode()).not_valid_after_utc - day
        assert 29 * DAY < left <= 90 * DAY
    assert _ca.leaf(*authority, ["nims.studio.example"], days[0] + 60 * DAY) != seen[0]
    other = _ca.leaf(*authority, ["other.studio.example"], NOW)
    assert other[1] != seen[0][1]


def test_openssl_takes_the_certificate_for_its_names_only(authority: tuple[str, str], tmp_path: Path) -> None:
    (tmp_path / "root.pem").write_text(authority[0], encoding="utf-8")
    names = ["nims.studio.example", "10.1.2.3"]
    (tmp_path / "leaf.pem").write_text(_ca.leaf(*authority, names, NOW)[0], encoding="utf-8")

    def verify(*words: str) -> bool:
        command = ["openssl", "verify", "-x509_strict", "-purpose", "sslserver", "-attime", str(int(NOW.timestamp()))]
        done = subprocess.run(
            [*command, *words, "-CAfile", "root.pem", "leaf.pem"], cwd=tmp_path, capture_output=True, check=False
        )
        return done.returncode == 0

    assert verify("-verify_hostname", "nims.studio.example")
    assert verify("-verify_ip", "10.1.2.3")
    assert not verify("-verify_hostname", "other.studio.example")


def test_the_certificate_of_a_gateway_signs_no_other(authority: tuple[str, str]) -> None:
    certificate = x509.load_pem_x509_certificate(_ca.leaf(*authority, ["nims.studio.example"], NOW)[0].encode())
    assert certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    assert certificate.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign is False


def test_the_authority_signs_nothing_when_it_has_ended(authority: tuple[str, str]) -> None:
    with pytest.raises(_ca.CaError, match="has ended"):
        _ca.leaf(*authority, ["nims.studio.example"], NOW + 3651 * DAY)


def test_a_pair_that_is_none_is_refused(authority: tuple[str, str], studio: Studio) -> None:
    with pytest.raises(_ca.CaError, match="does not belong"):
        _ca.check_pair(authority[0], studio.signing_key)
    with pytest.raises(_ca.CaError, match="is not PEM"):
        _ca.check_pair("x", studio.signing_key)
    with pytest.raises(_ca.CaError, match="authority cannot be used"):
        _ca.leaf(authority[0], studio.signing_key, ["a.example"], NOW)
    with pytest.raises(_ca.CaError, match="needs the name"):
        _ca.leaf(*authority, [], NOW)
