"""A network that drops: a relay on loopback that cuts its connections after so many bytes."""

import selectors
import socket
import threading
from collections.abc import Sequence
from typing import Self

_PIECE = 4096


class CutLink:
    """Relays to `port`; cuts the n-th connection after `limits[n]` bytes up, later ones never.

    The bytes before the cut still arrive, answers to them may not.
    """

    def __init__(self, port: int, limits: Sequence[int]) -> None:
        self._to = port
        self._limits = list(limits)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listener.getsockname()
        self.connections = 0
        self.cuts = 0
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, name="cut link")]

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            limit = self._limits[self.connections] if self.connections < len(self._limits) else None
            self.connections += 1
            try:
                far = socket.create_connection(("127.0.0.1", self._to), timeout=5)
            except OSError:
                near.close()  # the broker is away
                continue
            self._open += [near, far]
            relay = threading.Thread(target=self._relay, args=(near, far, limit), name="relay")
            self._threads.append(relay)
            relay.start()

    def _relay(self, near: socket.socket, far: socket.socket, limit: int | None) -> None:
        left = limit
        with near, far, selectors.DefaultSelector() as ready:
            ready.register(near, selectors.EVENT_READ, far)
            ready.register(far, selectors.EVENT_READ, near)
            try:
                while left is None or left > 0:
                    for key, _ in ready.select():
                        source, sink = key.fileobj, key.data
                        assert isinstance(source, socket.socket)
                        size = _PIECE if left is None or sink is near else min(_PIECE, left)
                        piece = source.recv(size)
                        if not piece:
                            return
                        sink.sendall(piece)
                        if left is not None and sink is far:
                            left -= len(piece)
                            if left == 0:
                                break
            except OSError:
                return  # either side left in the middle
            self.cuts += 1

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._open:
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed already
        for thread in self._threads:
            thread.join(10)
            assert not thread.is_alive()
