"""E-mail over TLS, to a real server with a certificate of its own: what one that is trusted is sent, and no other."""

from __future__ import annotations

import base64
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
import trustme

from quantmatrix_pipeline.alerts.channels import Outcome, sender
from quantmatrix_pipeline.alerts.message import Message, Tone
from quantmatrix_pipeline.settings import load
from quantmatrix_pipeline.settings.loading import VARIABLES
from quantmatrix_pipeline_tests.mail_server import PASSWORD, USER, MailServer, mail_server

# The mail server warns of itself where it offers a password no TLS, which is what is tried here.
pytestmark = pytest.mark.filterwarnings("ignore:Requiring AUTH while not requiring TLS")
HELLO = Message("test", Tone.INFO, "hello", {"a": "b"})
Certificate = Callable[[str], ssl.SSLContext]


@pytest.fixture
def certificate(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Certificate:
    """Certificates for a host by an authority that this process trusts."""
    for name in {name for names in VARIABLES.values() for name in names} | {"QM_ENV_FILE"}:
        monkeypatch.delenv(name, raising=False)
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "authority.pem")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    return lambda host: shown(authority, host)


def shown(authority: trustme.CA, host: str) -> ssl.SSLContext:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert(host).configure_cert(context)
    return context


def send(scheme: str, server: MailServer, monkeypatch: pytest.MonkeyPatch, password: str = PASSWORD) -> Outcome:
    login = f"{quote(USER, safe='')}:{quote(password, safe='')}"
    monkeypatch.setenv("QM_SMTP_URL", f"{scheme}://{login}@127.0.0.1:{server.port}")
    monkeypatch.setenv("QM_ALERT_EMAIL_TO", "you@example.com")
    by = sender(load(), ("email", None), 5.0)
    assert by is not None
    outcome = by.send(HELLO, 7, None)
    for secret in (password, quote(password, safe=""), USER):
        assert secret not in outcome.reason
    return outcome


def holds_the_password(came: bytes) -> bool:
    """Tell whether bytes hold the password, as it is or as AUTH PLAIN and AUTH LOGIN write it."""
    forms = (PASSWORD.encode(), f"\0{USER}\0{PASSWORD}".encode())
    return any(form in came or base64.b64encode(form) in came for form in forms)


@pytest.mark.parametrize(("scheme", "implicit"), [("smtp", False), ("smtps", True)])
def test_a_letter_reaches_a_trusted_server_and_password_and_text_go_within_tls_only(
    scheme: str, implicit: bool, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(certificate("127.0.0.1"), implicit=implicit) as server:
        assert send(scheme, server, monkeypatch) == Outcome(True)
        (letter,) = server.letters
        assert (letter["Subject"], letter["To"]) == ("hello", "you@example.com")
        assert holds_the_password(server.covered)
        assert not holds_the_password(server.bare)
        assert [line.split()[0] for line in server.bare.upper().splitlines()] == (
            [] if implicit else [b"EHLO", b"STARTTLS"]
        )
        refused = send(scheme, server, monkeypatch, password="another")
    assert refused == Outcome(False, "the mail server refused user or password (535)")


@pytest.mark.parametrize(("scheme", "implicit"), [("smtp", False), ("smtps", True)])
@pytest.mark.parametrize("known", [True, False])
def test_a_server_whose_certificate_is_another_hosts_or_of_unknown_make_is_told_nothing(
    scheme: str, implicit: bool, known: bool, certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = certificate("mail.example.com") if known else shown(trustme.CA(), "127.0.0.1")
    with mail_server(wrong, implicit=implicit) as server:
        outcome = send(scheme, server, monkeypatch)
        assert not outcome.delivered
        assert not outcome.never, "the certificate may be mended"
        why = "IP address mismatch" if known else "unable to get local issuer certificate"
        assert outcome.reason == f"the mail server's certificate is not trusted: {why}; nothing was sent"
        assert not holds_the_password(bytes(server.bare + server.covered))


def test_a_server_that_offers_no_tls_or_takes_it_back_gets_no_password(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch
) -> None:
    with mail_server(None) as without:
        outcome = send("smtp", without, monkeypatch)
        assert outcome.reason.startswith("the mail server offers less than the settings ask for: STARTTLS")
        assert b"EHLO" in without.bare.upper()
        assert not holds_the_password(without.bare)
        assert send("smtp+plain", without, monkeypatch).delivered, "who says so in the settings goes without"
    with mail_server(certificate("127.0.0.1"), refuses_tls=True) as stripping:
        assert send("smtp", stripping, monkeypatch) == Outcome(False, "the mail server answered 454")
        assert not holds_the_password(stripping.bare + stripping.covered)
