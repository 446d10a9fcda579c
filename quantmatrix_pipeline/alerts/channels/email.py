"""E-mail over SMTP, with TLS unless the address says otherwise."""

from __future__ import annotations

import smtplib
import ssl
from datetime import UTC, datetime
from email.message import EmailMessage
from email.utils import format_datetime
from urllib.parse import unquote, urlsplit

from quantmatrix_pipeline import clock
from quantmatrix_pipeline.alerts.channels.outcome import Outcome
from quantmatrix_pipeline.alerts.message import Message, cut

SUBJECT = 200
PORTS = {"smtp": 587, "smtps": 465, "smtp+plain": 25}


class Email:
    """Writes to a list of addresses.

    Parameters
    ----------
    url
        `smtp://user:password@host:587` (STARTTLS), `smtps://` (TLS from the start) or `smtp+plain://` (none).
    to
        Addresses, commas between.
    """

    def __init__(self, url: str, sender: str, to: str, timeout: float) -> None:
        self._server = urlsplit(url)
        self._sender = sender
        self._to = to
        self._timeout = timeout

    def send(self, message: Message, message_id: int, picture: bytes | None) -> Outcome:
        try:
            with self._connection() as server:
                server.send_message(self._letter(message, message_id, picture))
        except ssl.SSLCertVerificationError as error:
            # What follows the comma names the host.
            why = error.verify_message.split(",")[0]
            return Outcome(False, f"the mail server's certificate is not trusted: {why}; nothing was sent")
        except smtplib.SMTPNotSupportedError as error:
            return Outcome(False, f"the mail server offers less than the settings ask for: {error}")
        except smtplib.SMTPAuthenticationError as error:
            return Outcome(False, f"the mail server refused user or password ({error.smtp_code})")
        except smtplib.SMTPRecipientsRefused:
            return Outcome(False, "the mail server refused all recipients")
        except smtplib.SMTPResponseException as error:
            # 4xx: try again later; 5xx to the text itself: never. Others the settings mend.
            never = isinstance(error, smtplib.SMTPDataError) and error.smtp_code >= 500
            return Outcome(False, f"the mail server answered {error.smtp_code}", never=never)
        except (OSError, smtplib.SMTPException) as error:
            return Outcome(False, f"the mail server did not take it: {type(error).__name__}")
        return Outcome(True)

    def _connection(self) -> smtplib.SMTP:
        scheme, host = self._server.scheme, self._server.hostname or ""
        port = self._server.port or PORTS[scheme]
        if scheme == "smtps":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                host, port, timeout=self._timeout, context=ssl.create_default_context()
            )
        else:
            server = smtplib.SMTP(host, port, timeout=self._timeout)
        try:
            if scheme == "smtp":
                server.starttls(context=ssl.create_default_context())
            if self._server.username:
                server.login(unquote(self._server.username), unquote(self._server.password or ""))
        except BaseException:
            server.close()
            raise
        return server

    def _letter(self, message: Message, message_id: int, picture: bytes | None) -> EmailMessage:
        letter = EmailMessage()
        letter["From"] = self._sender
        letter["To"] = self._to.replace(",", ", ")
        letter["Subject"] = cut(" ".join(message.title.split()), SUBJECT)
        letter["Date"] = format_datetime(datetime.fromtimestamp(clock.wall(), UTC))
        # The same whenever it is sent again, so that a reader's mail program shows it once.
        letter["Message-ID"] = f"<alert-{message_id}@{self._sender.split('@')[-1]}>"
        letter["Auto-Submitted"] = "auto-generated"
        letter.set_content(message.plain())
        if picture is not None:
            letter.add_attachment(picture, maintype="image", subtype="png", filename="picture.png")
        return letter
