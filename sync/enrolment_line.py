"""The one connection that an enrolment needs: to the study's desk, and to nobody else.

Rules upheld here: nothing is sent before the desk has shown, and proven to hold, the very
certificate that the invite names (its SHA-256; no other authority is asked, and no name is
looked at); nothing but an `Ask` can be sent, which holds nothing that was ever sensed; the
answer is bounded in length and in time.

Not over MQTT, because a device has no certificate yet. A broker that lets strangers in would
show them its parser, and a stranger could take the client id of a device or of the coordinator,
whose session then ends: Mosquitto has one name space over all its listeners.

In the life of a device: `enrolment` says what is sent and what an answer means.
"""

import errno
import hashlib
import hmac
import socket
import ssl
import time
from typing import Final

from sync.endpoint import why
from sync.enrolment import Ask
from sync.errors import DeskError, DoorError
from sync.invites import Invite

_LENGTH_BYTES: Final = 2
_KEPT: Final = "The invite stays good until it expires."


def exchange(invite: Invite, ask: Ask, *, timeout_s: float = 20.0) -> bytes:
    """Send one ask to the desk of the invite, and return the bytes that it answers.

    After `DeskError` it may or may not have arrived: send the same ask again.

    Raises:
        DoorError: this is no ask; nothing was sent.
        DeskError: the desk can't be reached, is not the one that the invite names, or went away.
    """
    if type(ask) is not Ask:
        raise DoorError(
            f"An enrolment sends only an ask, not {type(ask).__name__}.",
            "This is a fault in the program; nothing was sent. Please report it.",
        )
    place = f"{invite.host}:{invite.desk_port}"
    try:
        with (
            socket.create_connection((invite.host, invite.desk_port), timeout_s) as plain,
            _context().wrap_socket(plain) as line,
        ):
            shown = line.getpeercert(binary_form=True) or b""
            if not hmac.compare_digest(hashlib.sha256(shown).digest(), invite.door):
                raise DeskError(
                    f"What answers at {place} is not the study's desk that the invite names.",
                    f"Ask the study whether it moved; somebody may be in between. {_KEPT}",
                )
            send(line, ask.to_bytes())
            return received(line, time.monotonic() + timeout_s)
    except TimeoutError as fault:
        raise DeskError(
            f"The study's desk at {place} did not answer in time.",
            f"Check this device's network, or try again when the study's coordinator runs. {_KEPT}",
        ) from fault
    except OSError as fault:
        raise DeskError(
            f"The study's desk at {place} can't be reached ({why(fault)}).",
            f"Check this device's network, or try again when the study's coordinator runs. {_KEPT}",
        ) from fault


def _context() -> ssl.SSLContext:
    """TLS 1.3 that takes any certificate: the caller compares it with the invite's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def received(line: ssl.SSLSocket, until: float) -> bytes:
    """One message: the bytes after its length, all of them before `until` (monotonic, seconds).

    Raises:
        OSError: it did not come whole, or not in time (`TimeoutError`).
    """
    return _exactly(line, int.from_bytes(_exactly(line, _LENGTH_BYTES, until), "big"), until)


def send(line: ssl.SSLSocket, message: bytes) -> None:
    """One message, preceded by its length (two bytes, big-endian)."""
    line.sendall(len(message).to_bytes(_LENGTH_BYTES, "big") + message)


def _exactly(line: ssl.SSLSocket, length: int, until: float) -> bytes:
    found = b""
    while len(found) < length:
        left_s = until - time.monotonic()
        if left_s <= 0:
            raise TimeoutError
        line.settimeout(left_s)
        piece = line.recv(length - len(found))
        if not piece:
            raise ConnectionResetError(errno.ECONNRESET, "it ended the connection")
        found += piece
    return found
