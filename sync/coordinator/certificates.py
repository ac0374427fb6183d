"""A study's X.509: certificates that name one purpose each, and the list of those taken back.

Rules upheld here: only the CA's certificate can sign others; every other says whether it is for
a broker or for a client, and a device's ends; what is on the revocation list stays there. No
disk in here: PEM in, PEM out.

ECDSA on P-256: OpenSSL 1.1.1 and newer, and every other TLS, know it.

Source: RFC 5280, 4.2.1 (extensions) and 5 (revocation lists).
"""

import hashlib
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final, Self

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sync.enrolment import Request, tls_public_key
from sync.errors import StudyError

LIFE: Final = timedelta(days=3650)
"""Of the CA, the broker's and the coordinator's certificates: a study must not die of a date."""
MEMBER_LIFE: Final = timedelta(days=400)
"""Of a device's certificate."""

_SKEW: Final = timedelta(days=1)  # of a device's clock
_CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
_SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key (PKCS #8), both PEM."""

    certificate: bytes
    key: bytes = field(repr=False)

    @property
    def fingerprint(self) -> bytes:
        """SHA-256 of the certificate in DER, 32 bytes."""
        return hashlib.sha256(_der(x509.load_pem_x509_certificate(self.certificate))).digest()


@dataclass(frozen=True, slots=True)
class DeviceCertificate:
    """A device's certificate (DER), its serial number and its end (seconds since 1970)."""

    der: bytes
    serial: int
    expires: int


@dataclass(frozen=True, slots=True)
class CertificateAuthority:
    """The study's CA: `certificate` and the key that signs all the others."""

    _certificate: x509.Certificate
    _key: ec.EllipticCurvePrivateKey = field(repr=False)

    @classmethod
    def found(cls, study: str, now: datetime) -> Self:
        """A new one, for `LIFE`."""
        key = ec.generate_private_key(ec.SECP256R1())
        return cls(_self_signed(f"Sotto voce study {study}", key, now, is_ca=True), key)

    @classmethod
    def read(cls, pair: Pair) -> Self:
        """The one that was kept.

        Raises:
            StudyError: the files hold none.
        """
        try:
            certificate = x509.load_pem_x509_certificate(pair.certificate)
            key = serialization.load_pem_private_key(pair.key, None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            key = None
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise StudyError("The study's CA is damaged.", "Put its folder back from a backup.")
        return cls(certificate, key)

    @property
    def pair(self) -> Pair:
        """What is kept of it."""
        return _pair(self._certificate, self._key)

    @property
    def der(self) -> bytes:
        """Its certificate, DER."""
        return _der(self._certificate)

    def for_broker(self, hosts: Iterable[str], now: datetime) -> Pair:
        """A server certificate under all these names and addresses."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pair(self._issued("broker", key.public_key(), now, LIFE, _SERVER, hosts), key)

    def for_client(self, name: str, now: datetime, life: timedelta) -> Pair:
        """A client certificate for a connection of the coordinator's own."""
        key = ec.generate_private_key(ec.SECP256R1())
        return _pair(self._issued(name, key.public_key(), now, life, _CLIENT), key)

    def for_device(self, request: Request, invite_name: bytes, now: datetime) -> DeviceCertificate:
        """A client certificate for the TLS key of a request, under its pseudonym.

        Raises:
            ProtocolError: the key is not proven.
        """
        key = tls_public_key(request, invite_name)
        issued = self._issued(request.pseudonym, key, now, MEMBER_LIFE, _CLIENT)
        expires = int(issued.not_valid_after_utc.timestamp())
        return DeviceCertificate(_der(issued), issued.serial_number, expires)

    def revocation_list(
        self, serials: Iterable[int], now: datetime, before: bytes | None = None
    ) -> bytes:
        """The list (PEM) of these serial numbers; `before` itself where nothing changes.

        Raises:
            StudyError: `before` is no such list.
        """
        wanted, number = frozenset(serials), 1
        if before is not None:
            try:
                last = x509.load_pem_x509_crl(before)
                number += last.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number
            except (ValueError, x509.ExtensionNotFound):
                raise StudyError(
                    "The study's revocation list is damaged.",
                    "Delete the file revoked.crl in its broker folder: it is made again.",
                ) from None
            if {entry.serial_number for entry in last} == wanted:
                return before
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._certificate.subject)
            .last_update(now - _SKEW)
            # A list past its date locks everybody out: it lasts as long as the CA.
            .next_update(self._certificate.not_valid_after_utc)
            .add_extension(x509.CRLNumber(number), critical=False)
        )
        for serial in sorted(wanted):
            entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(entry.build())
        signed = builder.sign(self._key, hashes.SHA256())
        return signed.public_bytes(serialization.Encoding.PEM)

    def _issued(
        self,
        name: str,
        key: ec.EllipticCurvePublicKey,
        now: datetime,
        life: timedelta,
        purpose: x509.ObjectIdentifier,
        hosts: Iterable[str] = (),
    ) -> x509.Certificate:
        by = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = (
            _named(_common(name), self._certificate.subject, key, now, life)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_others=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
            .add_extension(by, critical=False)
        )
        names = [_host(host) for host in dict.fromkeys(hosts)]
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return builder.sign(self._key, hashes.SHA256())


def door_certificate(now: datetime) -> Pair:
    """What the enrolment desk shows: signed by itself, known by its fingerprint alone."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _pair(_self_signed("door", key, now, is_ca=False), key)


def _self_signed(
    name: str, key: ec.EllipticCurvePrivateKey, now: datetime, *, is_ca: bool
) -> x509.Certificate:
    depth = 0 if is_ca else None
    builder = (
        _named(_common(name), _common(name), key.public_key(), now, LIFE)
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=depth), critical=True)
        .add_extension(_usage(signs_others=is_ca), critical=True)
    )
    return builder.sign(key, hashes.SHA256())


def _named(
    name: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    life: timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _SKEW)
        .not_valid_after(now + life)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_others: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_others,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_others,
        crl_sign=signs_others,
        encipher_only=False,
        decipher_only=False,
    )


def _common(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _der(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.DER)


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> Pair:
    return Pair(
        certificate.public_bytes(serialization.Encoding.PEM),
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
