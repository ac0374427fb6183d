"""Where the broker is, and what to tell a person when it fails us.

Rules it upholds: each way in which a broker can fail has its own sentence and its own remedy; a
TLS connection checks the broker's certificate and name, always.

In the life of a report: the other end of the only connection that a device opens.
"""

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from sync.errors import BrokerError, Revoked

_LISTEN_S: Final = 1.0
_KEPT: Final = "Nothing is lost: the report is kept, and sent again as it is."


@dataclass(frozen=True, slots=True)
class Tls:
    """The study's own CA, and this device's certificate and key where the study gave them."""

    ca_file: Path
    certificate_file: Path | None = None
    key_file: Path | None = None

    def context(self) -> ssl.SSLContext:
        """TLS 1.2 or newer, the broker's certificate and name checked.

        Raises:
            BrokerError: a file is missing or is not what it should be.
        """
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self.certificate_file is not None:
                context.load_cert_chain(self.certificate_file, self.key_file)
        except (OSError, ValueError) as fault:  # an SSLError is an OSError
            raise BrokerError(
                f"The TLS files can't be used ({why(fault)}).",
                "Check that the CA, certificate and key files exist, are PEM, and belong together.",
            ) from fault
        return context


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A broker's address, with TLS or (on one machine) without.

    Raises:
        BrokerError: this can't be an address.
    """

    host: str
    port: int
    tls: Tls | None = None

    def __post_init__(self) -> None:
        if not self.host or any(not 32 < ord(letter) < 127 for letter in self.host):
            raise BrokerError("The broker's host name is empty or has odd characters.", _AS)
        if not 0 < self.port < 65536:
            raise BrokerError(f"{self.port} is not a port that a broker can have.", _AS)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    def unreachable(self, fault: OSError) -> BrokerError:
        """No connection came about."""
        if isinstance(fault, socket.gaierror):
            return BrokerError(
                f"The broker's name '{self.host}' is not known here ({why(fault)}).",
                f"Check its spelling and this device's network. {_KEPT}",
            )
        if isinstance(fault, ConnectionRefusedError):
            return BrokerError(
                f"No broker listens at {self}: the connection was refused.",
                f"Start the broker, or check its port. {_KEPT}",
            )
        if isinstance(fault, ssl.SSLCertVerificationError):
            return BrokerError(
                f"The broker at {self} is not the study's: its certificate was not accepted "
                f"({fault.verify_message}).",
                "Check the CA file and the device's clock; do not turn TLS off.",
            )
        if isinstance(fault, ssl.SSLError):
            if (refusal := self._refusal(fault)) is not None:
                return refusal
            return BrokerError(
                f"No TLS connection with {self} came about ({why(fault)}).",
                "Check that this port speaks TLS and knows this device's certificate.",
            )
        if isinstance(fault, TimeoutError):
            return self.silent("did not answer the connection")
        return BrokerError(
            f"The broker at {self} can't be reached ({why(fault)}).",
            f"Check this device's network. {_KEPT}",
        )

    def silent(self, what: str) -> BrokerError:
        """It took too long; `what` completes "The broker at host:port ..."."""
        return BrokerError(
            f"The broker at {self} {what} in time.",
            f"Check that it is running and reachable, or wait. {_KEPT}",
        )

    def refuses(self, reason: str) -> BrokerError:
        """It refuses the connection, for `reason` (a name from the MQTT standard)."""
        return BrokerError(
            f"The broker at {self} refuses this client: {reason}.",
            "Check that the study has enrolled this device, and its certificate and client name. "
            + _KEPT,
        )

    def refuses_message(self, reason: str) -> BrokerError:
        """It is connected, but did not take the message."""
        return BrokerError(
            f"The broker at {self} did not take the report: {reason}.",
            f"Ask the study whether this device may publish there. {_KEPT}",
        )

    def refuses_filter(self, reason: str) -> BrokerError:
        """It is connected, but does not let us listen."""
        return BrokerError(
            f"The broker at {self} does not let this client listen: {reason}.",
            "Check the broker's access list for the coordinator.",
        )

    def went_away(self, reason: str) -> BrokerError:
        """The connection ended before the answer came."""
        if (refusal := self._refusal(self._alert())) is not None:
            return refusal
        return BrokerError(
            f"The broker at {self} ended the connection before it answered ({reason}).",
            f"It may be restarting: try again. {_KEPT}",
        )

    def _alert(self) -> ssl.SSLError | None:
        """What TLS says to who only listens.

        In TLS 1.3 a broker looks at a certificate after the handshake; who has spoken by then may
        see the connection end, and miss the reason.
        """
        if self.tls is None:
            return None
        try:
            with (
                socket.create_connection((self.host, self.port), _LISTEN_S) as plain,
                self.tls.context().wrap_socket(plain, server_hostname=self.host) as line,
            ):
                line.recv(1)
        except ssl.SSLError as fault:
            return fault
        except (OSError, BrokerError):
            pass  # the first fault is the one to tell
        return None

    def _refusal(self, alert: ssl.SSLError | None) -> BrokerError | None:
        """What a refused certificate means to its owner."""
        reason = str(alert.reason) if alert is not None else ""
        if reason.endswith("ALERT_CERTIFICATE_REVOKED"):
            return Revoked(
                "The study has revoked this device: its broker lets it in no more.",
                "Nothing more is sent; screening goes on. Ask the study why.",
            )
        if reason.endswith("ALERT_CERTIFICATE_EXPIRED"):
            return BrokerError(
                "This device's certificate for the study has ended.",
                f"Enrol it again with a fresh invite: sottovoce enrol INVITE --again. {_KEPT}",
            )
        if reason.endswith(("ALERT_UNKNOWN_CA", "ALERT_CERTIFICATE_REQUIRED", "BAD_CERTIFICATE")):
            return self.refuses("it does not know the certificate")
        return None

    def no_broker(self) -> BrokerError:
        """Something answers there, but not in MQTT."""
        return BrokerError(
            f"What answers at {self} does not speak MQTT.",
            f"Check the broker's port, and whether it wants TLS. {_KEPT}",
        )


def sends_at_once(connection: socket.socket) -> None:
    """Have a connection send a short message at once.

    TCP else holds it back until the one before is acknowledged, which the other side puts off for
    40 ms: a question and its answer then take 80.

    Source: RFC 9293, 3.7.4 (Nagle's algorithm), 3.8.6.3 (delayed acknowledgements).
    """
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


_AS: Final = "Write it as HOST:PORT, such as broker.example:8883."


def why(fault: Exception) -> str:
    """The system's own short reason for a failed connection, without paths."""
    return getattr(fault, "strerror", None) or getattr(fault, "reason", None) or str(fault)
