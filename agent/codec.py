"""Records as bytes and back: compact, versioned, and without a way to run code.

Rules it upholds: any bytes give a record or `DamagedRecord`; reading what was written gives the
same record, to the last bit; names of enums are written out, so that their order may change.
Little-endian; a text is its length (u16) and UTF-8, an array its length (u16, 65535 for none)
and float32.

Place in the life of a record: screening → **codec** → cipher → store.
"""

import re
import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Final, NoReturn, TypeVar

import numpy as np
import numpy.typing as npt

from agent.capture.frames import GapReason, Sensor
from agent.errors import DamagedRecord
from agent.records import GAD7_ITEMS, PHQ8_ITEMS, CheckIn, GapRecord, WindowRecord
from edge_models.assessment import Abstention, Assessment, Scores
from edge_models.errors import ContractError, Explained
from sync.budget import Spend
from sync.policy import Purpose

Floats = npt.NDArray[np.float32]

_WINDOW: Final = 2
_WINDOW_UNNUMBERED: Final = 1  # of before there were updates
_GAP: Final = 1
_CHECK_IN: Final = 1
_SPEND: Final = 2
_SPEND_UNCHAINED: Final = 1  # of a report, before there was a chain
_OUTGOING: Final = 1
_GONE: Final = 2  # a round's message that has left: what it was, without its bytes
_SINGLE: Final = 1

_DIGEST_BYTES: Final = 32
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST: Final = 0xFFFF
_NO_ARRAY: Final = 0xFFFF
_ALONE: Final = (None, False, True)
_ROUND_LABEL: Final = "round/"  # with the round's id, where a report has its period
_FRACTION: Final = re.compile(r"[0-9]{1,20}/[0-9]{1,20}", re.ASCII)

Choice = TypeVar("Choice", Sensor, GapReason, Abstention, Purpose)


@dataclass(frozen=True, slots=True)
class Gone:
    """What is kept of a round's message once it has left.

    `step` is the protocol's name of it, empty where it is not known; `piece` of `pieces`, from 1;
    `digest` the SHA-256 (32 bytes) of the `size_bytes` that left. `purpose` and `subject` are the
    round's, empty where that was forgotten.
    """

    purpose: str
    subject: str
    step: str
    piece: int
    pieces: int
    size_bytes: int
    digest: bytes


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A finished message as the outbox keeps it: `sealed` by `sync.release`, sent or waiting.

    `number` is its place in the outbox; `sent_at` (UTC) is None while it waits. A report has a
    `period`, a message of a round the round's id in `round`; of the latter only what `gone` tells
    is kept once it was sent, and `sealed` is empty.
    """

    number: int
    period: str
    made_at: datetime
    sent_at: datetime | None
    sealed: bytes
    round: str = ""
    gone: Gone | None = None


def encode_window(record: WindowRecord) -> bytes:
    """A window's record as bytes, about 0.5 kB when it was described and 60 bytes when not.

    Raises:
        ContractError: an array or name is longer than 65,534.
    """
    scores = record.assessment.scores
    abstained = record.assessment.abstained
    return b"".join(
        (
            struct.pack("<B", _WINDOW),
            _moment(record.started_at),
            struct.pack("<dddB", record.duration_s, record.speech_s, record.face_s,
                        _ALONE.index(record.alone)),
            _array(record.summary),
            _array(record.facial),
            _array(record.embedding),
            _text(abstained.value if abstained else ""),
            struct.pack("<ddd", scores.sadness, scores.fear, scores.distress) if scores else b"",
            _text(record.bundle),
            struct.pack("<I", record.serial),
            _text(record.space),
        )
    )  # fmt: skip


def decode_window(raw: bytes) -> WindowRecord:
    """The record of a window.

    Raises:
        DamagedRecord: the bytes hold none.
    """
    numbered = raw[:1] != struct.pack("<B", _WINDOW_UNNUMBERED)
    rest = _Rest(raw, _WINDOW if numbered else _WINDOW_UNNUMBERED)
    try:
        started_at = rest.moment()
        duration_s, speech_s, face_s = rest.unpack("<ddd")
        (alone,) = rest.take(1)
        if alone >= len(_ALONE):
            _unreadable()
        summary, facial, embedding = rest.array(), rest.array(), rest.array()
        reason = rest.text()
        if reason:
            assessment = Assessment(None, _choice(Abstention, reason))
        else:
            assessment = Assessment(Scores(*rest.unpack("<ddd")), None)
        bundle, serial, space = rest.text(), 0, ""
        if numbered:
            serial, space = int.from_bytes(rest.take(4), "little"), rest.text()
        record = WindowRecord(
            started_at, duration_s, speech_s, face_s, _ALONE[alone],
            summary, facial, embedding, assessment, bundle, serial, space,
        )  # fmt: skip
    except ContractError:  # a score that is no probability
        _unreadable()
    rest.must_be_empty()
    return record


def encode_gap(record: GapRecord) -> bytes:
    """A gap's record as bytes.

    Raises:
        ContractError: its detail is longer than 65,534 bytes.
    """
    return b"".join(
        (
            struct.pack("<B", _GAP),
            _moment(record.started_at),
            struct.pack("<d", record.duration_s),
            _text(record.sensor.value),
            _text(record.reason.value),
            _text(record.detail),
        )
    )


def decode_gap(raw: bytes) -> GapRecord:
    """The record of a gap.

    Raises:
        DamagedRecord: the bytes hold none.
    """
    rest = _Rest(raw, _GAP)
    started_at = rest.moment()
    (duration_s,) = rest.unpack("<d")
    sensor, reason = _choice(Sensor, rest.text()), _choice(GapReason, rest.text())
    record = GapRecord(started_at, duration_s, sensor, reason, rest.text())
    rest.must_be_empty()
    return record


def encode_check_in(record: CheckIn) -> bytes:
    """A check-in's answers as bytes."""
    answers = bytes((*record.phq8, *record.gad7))
    return struct.pack("<B", _CHECK_IN) + _moment(record.started_at) + answers


def decode_check_in(raw: bytes) -> CheckIn:
    """A check-in's answers.

    Raises:
        DamagedRecord: the bytes hold none.
    """
    rest = _Rest(raw, _CHECK_IN)
    started_at = rest.moment()
    phq8, gad7 = tuple(rest.take(PHQ8_ITEMS)), tuple(rest.take(GAD7_ITEMS))
    rest.must_be_empty()
    try:
        return CheckIn(started_at, phq8, gad7)
    except ContractError:  # an answer that nobody can give
        _unreadable()


def encode_spend(spend: Spend, digest: bytes) -> bytes:
    """A spend of the privacy budget and the chain's digest with it; its rho stays exact.

    Raises:
        ContractError: the digest has not 32 bytes.
    """
    if len(digest) != _DIGEST_BYTES:
        raise ContractError("A chain's digest has 32 bytes.")
    rho = f"{spend.rho.numerator}/{spend.rho.denominator}"
    words = (spend.purpose.value, spend.subject, rho, spend.policy)
    return struct.pack("<B", _SPEND) + b"".join(map(_text, words)) + digest


def decode_spend(raw: bytes) -> tuple[Spend, bytes | None]:
    """A spend of the privacy budget and its digest; an older version kept no digest.

    Raises:
        DamagedRecord: the bytes hold none.
    """
    chained = raw[:1] != struct.pack("<B", _SPEND_UNCHAINED)
    rest = _Rest(raw, _SPEND if chained else _SPEND_UNCHAINED)
    purpose = _choice(Purpose, rest.text()) if chained else Purpose.REPORT
    subject, rho, policy = rest.text(), rest.text(), rest.text()
    digest = rest.take(_DIGEST_BYTES) if chained else None
    rest.must_be_empty()
    try:
        if not _FRACTION.fullmatch(rho):
            _unreadable()
        return Spend(subject, Fraction(rho), policy, purpose), digest
    except (Explained, ZeroDivisionError):
        _unreadable()


def encode_outgoing(outgoing: Outgoing) -> bytes:
    """A message of the outbox as bytes; its number is its place and is not written.

    Raises:
        ContractError: a name in it is longer than 65,534 bytes, or a digest has not 32.
    """
    sent = b"" if outgoing.sent_at is None else _moment(outgoing.sent_at)
    form = _OUTGOING if outgoing.gone is None else _GONE
    return b"".join(
        (
            struct.pack("<BB", form, len(sent)),
            _text(_ROUND_LABEL + outgoing.round if outgoing.round else outgoing.period),
            _moment(outgoing.made_at),
            sent,
            outgoing.sealed if outgoing.gone is None else _encode_gone(outgoing.gone),
        )
    )


def _encode_gone(gone: Gone) -> bytes:
    if len(gone.digest) != _DIGEST_BYTES:
        raise ContractError("The digest of what has left has 32 bytes.")
    words = b"".join(map(_text, (gone.purpose, gone.subject, gone.step)))
    return words + struct.pack("<HHI", gone.piece, gone.pieces, gone.size_bytes) + gone.digest


def decode_outgoing(raw: bytes, number: int) -> Outgoing:
    """A message of the outbox; `number` is its place there.

    Raises:
        DamagedRecord: the bytes hold none.
    """
    has_gone = raw[:1] == struct.pack("<B", _GONE)
    rest = _Rest(raw, _GONE if has_gone else _OUTGOING)
    (sent_bytes,) = rest.unpack("<B")
    about, made_at = rest.text(), rest.moment()
    if sent_bytes not in (0, 8):
        _unreadable()
    sent_at = rest.moment() if sent_bytes else None
    of_round = about.startswith(_ROUND_LABEL)
    period, round_id = ("", about.removeprefix(_ROUND_LABEL)) if of_round else (about, "")
    if not has_gone:
        return Outgoing(number, period, made_at, sent_at, rest.everything(), round_id)
    gone = _decode_gone(rest)
    return Outgoing(number, period, made_at, sent_at, b"", round_id, gone)


def _decode_gone(rest: "_Rest") -> Gone:
    purpose, subject, step = rest.text(), rest.text(), rest.text()
    piece, pieces, size_bytes = (int(value) for value in rest.unpack("<HHI"))
    digest = rest.take(_DIGEST_BYTES)
    rest.must_be_empty()
    return Gone(purpose, subject, step, piece, pieces, size_bytes, digest)


def encode_single(name: str, content: bytes) -> bytes:
    """Some content under a name (a baseline's bundle, a pseudonym's study) as bytes.

    Raises:
        ContractError: the name is longer than 65,534 bytes.
    """
    return struct.pack("<B", _SINGLE) + _text(name) + content


def decode_single(raw: bytes) -> tuple[str, bytes]:
    """A name and the content under it.

    Raises:
        DamagedRecord: the bytes hold none.
    """
    rest = _Rest(raw, _SINGLE)
    return rest.text(), rest.everything()


def _moment(moment: datetime) -> bytes:
    if moment.utcoffset() is None:
        raise ContractError("Times in records are aware.")
    return struct.pack("<q", (moment - _EPOCH) // timedelta(microseconds=1))


def _text(words: str) -> bytes:
    raw = words.encode("utf-8", "replace")  # a device's name may be no text
    if len(raw) >= _LONGEST:
        raise ContractError("A text of a record is shorter than 65,535 bytes.")
    return struct.pack("<H", len(raw)) + raw


def _array(values: Floats | None) -> bytes:
    if values is None:
        return struct.pack("<H", _NO_ARRAY)
    if values.ndim != 1 or values.dtype != np.float32 or len(values) >= _NO_ARRAY:
        raise ContractError("An array of a record is one row of float32, under 65,535 long.")
    return struct.pack("<H", len(values)) + values.astype("<f4").tobytes()


class _Rest:
    """What is still to be read of a record."""

    def __init__(self, raw: bytes, version: int) -> None:
        self._raw = raw
        self._at = 0
        if self.unpack("<B") != (version,):
            raise DamagedRecord(
                "A stored record has a form that this version does not know.",
                "If an older version was installed, install the newer one again.",
            )

    def take(self, size: int) -> bytes:
        piece = self._raw[self._at : self._at + size]
        if len(piece) != size:
            _unreadable()
        self._at += size
        return piece

    def unpack(self, form: str) -> tuple[float, ...]:
        return struct.unpack(form, self.take(struct.calcsize(form)))

    def moment(self) -> datetime:
        (microseconds,) = struct.unpack("<q", self.take(8))
        try:
            return _EPOCH + timedelta(microseconds=microseconds)
        except OverflowError:
            _unreadable()

    def text(self) -> str:
        (size,) = struct.unpack("<H", self.take(2))
        try:
            return self.take(size).decode("utf-8")
        except UnicodeDecodeError:
            _unreadable()

    def array(self) -> Floats | None:
        (size,) = struct.unpack("<H", self.take(2))
        if size == _NO_ARRAY:
            return None
        return np.frombuffer(self.take(4 * size), "<f4").astype(np.float32)

    def everything(self) -> bytes:
        return self.take(len(self._raw) - self._at)

    def must_be_empty(self) -> None:
        if self._at != len(self._raw):
            _unreadable()


def _choice(kind: type[Choice], word: str) -> Choice:
    try:
        return kind(word)
    except ValueError:
        _unreadable()


def _unreadable() -> NoReturn:
    raise DamagedRecord(
        "A stored record is not readable: its content is not what this version writes.",
        "The other records are not affected.",
    ) from None
