"""Small loopback servers for the probes: each connection is played by a function."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

Play = Callable[["Session"], None]


@dataclass
class Server:
    """A listening server; ``requests`` collects what clients sent, one entry a connection."""

    port: int
    stopping: threading.Event = field(default_factory=threading.Event)
    requests: list[bytes] = field(default_factory=list)


class Session:
    """One client's connection, as a play sees it."""

    def __init__(self, connection: socket.socket, server: Server) -> None:
        self.connection = connection
        self.server = server
        self.index = len(server.requests)
        server.requests.append(b"")

    def receive(self) -> bytes:
        data = self.connection.recv(65536)
        self.server.requests[self.index] += data
        return data

    def receive_until(self, end: bytes) -> None:
        while end not in self.server.requests[self.index] and self.receive():
            pass

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def wait_for_end(self) -> None:
        while self.receive():
            pass

    def pause(self, seconds: float) -> None:
        self.server.stopping.wait(seconds)


@contextlib.contextmanager
def serve(*plays: Play) -> Iterator[Server]:
    """Serve on a free port: the plays in turn, a connection each, the last one again and again."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = Server(listener.getsockname()[1])
        threads: list[threading.Thread] = []
        connections: list[socket.socket] = []

        def play(connection: socket.socket, number: int) -> None:
            with connection, contextlib.suppress(OSError):
                plays[min(number, len(plays) - 1)](Session(connection, server))

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    connection, _ = listener.accept()
                    connections.append(connection)
                    thread = threading.Thread(target=play, args=(connection, len(threads)))
                    threads.append(thread)
                    thread.start()

        acceptor = threading.Thread(target=accept)
        acceptor.start()
        try:
            yield server
        finally:
            server.stopping.set()
            listener.shutdown(socket.SHUT_RDWR)
            acceptor.join()
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join()


def silent(session: Session) -> None:
    session.wait_for_end()


def closing(_: Session) -> None:
    return


def resetting(session: Session) -> None:
    session.receive()
    session.connection.setsockopt(
        socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"
    )


def answering(*answers: bytes) -> Play:
    """Answer each thing the client sends with the next text, then end the sending side."""

    def play(session: Session) -> None:
        for answer in answers:
            session.receive()
            session.send(answer)
        session.connection.shutdown(socket.SHUT_WR)
        session.wait_for_end()

    return play


def dripping(answer: bytes, seconds: float = 0.05) -> Play:
    """Send the answer a byte at a time."""

    def play(session: Session) -> None:
        session.receive()
        for number in answer:
            session.send(bytes([number]))
            session.pause(seconds)

    return play


def endless(start: bytes, piece: bytes = b"A" * 65536) -> Play:
    """Begin with ``start`` and never stop."""

    def play(session: Session) -> None:
        session.receive()
        session.send(start)
        while not session.server.stopping.is_set():
            session.send(piece)

    return play


def refused_port() -> int:
    """Return a port on which nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
