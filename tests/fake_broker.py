"""A broker that misbehaves on purpose: it follows one act per connection, on loopback."""

import socket
import struct
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

CONNECT, PUBLISH, SUBSCRIBE = 1, 3, 8
REFUSES_OLD_STYLE = {"unknown version": 1, "bad credentials": 4, "not authorised": 5}


@dataclass
class Peer:
    """One client's connection: whole packets in, raw bytes out."""

    connection: socket.socket
    published: list[tuple[str, bytes]] = field(default_factory=list)
    level: int = 0

    def packet(self) -> tuple[int, bytes]:
        """Kind and body of the next packet; EOFError when the client has left."""
        kind = self._exactly(1)[0] >> 4
        length = shift = 0
        while True:
            digit = self._exactly(1)[0]
            length |= (digit & 127) << shift
            shift += 7
            if digit < 128:
                return kind, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        found = b""
        while len(found) < count:
            piece = self.connection.recv(count - len(found))
            if not piece:
                raise EOFError
            found += piece
        return found

    def greeted(self, reason: int = 0) -> None:
        """Read CONNECT, answer CONNACK in the client's own version."""
        kind, body = self.packet()
        assert kind == CONNECT
        self.level = body[6]
        tail = b"\0" if self.level == 5 else b""
        self.connection.sendall(bytes([0x20, 2 + len(tail), 0, reason]) + tail)

    def took(self, reason: int = 0, acknowledge: bool = True) -> bytes:
        """Read one PUBLISH at QoS 1, and acknowledge it or not; answers with its payload."""
        kind, body = self.packet()
        assert kind == PUBLISH
        length = struct.unpack("!H", body[:2])[0]
        topic, rest = body[2 : 2 + length].decode(), body[2 + length :]
        mid, rest = rest[:2], rest[2:]
        if self.level == 5:
            rest = rest[1 + rest[0] :]  # properties are short here: one digit of length
        self.published.append((topic, rest))
        if acknowledge:
            tail = bytes([reason, 0]) if self.level == 5 else b""
            self.connection.sendall(bytes([0x40, 2 + len(tail)]) + mid + tail)
        return rest

    def subscribed(self, reason: int = 1) -> None:
        """Read SUBSCRIBE, answer SUBACK."""
        kind, body = self.packet()
        assert kind == SUBSCRIBE
        tail = b"\0" if self.level == 5 else b""
        self.connection.sendall(bytes([0x90, 3 + len(tail)]) + body[:2] + tail + bytes([reason]))

    def says(self, topic: str, *payloads: bytes) -> None:
        """Send PUBLISH at QoS 1 for each (short) payload, all in one piece."""
        head = struct.pack("!H", len(topic)) + topic.encode()
        sent = b""
        for mid, payload in enumerate(payloads, start=1):
            body = head + struct.pack("!H", mid) + b"\0" * (self.level == 5) + payload
            assert len(body) < 128
            sent += bytes([0x32, len(body)]) + body
        self.connection.sendall(sent)

    def stays(self) -> None:
        """Read on, answering nothing, until the client leaves."""
        while self.connection.recv(4096):
            pass


Act = Callable[[Peer], None]


class FakeBroker:
    """Plays `acts`, one a connection, the last one again and again; closes after each."""

    def __init__(self, *acts: Act) -> None:
        self._acts = list(acts)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.published: list[tuple[str, bytes]] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, name="fake broker")

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            act = self._acts.pop(0) if len(self._acts) > 1 else self._acts[0]
            with connection:
                try:
                    act(Peer(connection, self.published))
                except (EOFError, OSError):
                    continue  # the client left first

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already
        self._thread.join(10)
        assert not self._thread.is_alive()
