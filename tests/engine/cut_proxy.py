"""A unix socket in front of the real engine that can be cut, as if the engine had died."""

import contextlib
import gc
import select
import socket
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from owctl.engine.connection import Engine
from owctl.engine.endpoint import Endpoint


class CutProxy:
    """Hands bytes on until ``cut``; from then on nobody listens. ``sever`` cuts what is open."""

    def __init__(self, engine_socket: Path, path: Path) -> None:
        self._engine_socket = str(engine_socket)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept)]
        self._threads[0].start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._engine_socket)
                self._sockets += [client, server]
                thread = threading.Thread(target=self._pass_on, args=(client, server))
                thread.start()
                self._threads.append(thread)

    def _pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        open_ends = [client, server]
        with contextlib.suppress(OSError, ValueError):
            while open_ends:
                for ready in select.select(open_ends, [], [])[0]:
                    if data := ready.recv(65536):
                        other[ready].sendall(data)
                    else:
                        open_ends.remove(ready)
                        other[ready].shutdown(socket.SHUT_WR)

    def sever(self) -> None:
        """Cut the connections that there are; new ones can be made."""
        for each in list(self._sockets):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def cut(self) -> None:
        for each in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for each in [self._listener, *self._sockets]:
            each.close()


@contextmanager
def cut_off_engine(engine: Engine, folder: Path) -> Iterator[tuple[Engine, CutProxy]]:
    """Reach the engine through a proxy; its ``cut`` is the engine's death."""
    path = folder / "engine.sock"
    assert engine.endpoint.socket_path is not None
    proxy = CutProxy(engine.endpoint.socket_path, path)
    try:
        endpoint = Endpoint(f"unix://{path}", "a test")
        with Engine(endpoint, engine.api_version, {}) as reached:
            yield reached, proxy
    finally:
        proxy.cut()
        # docker-py leaves a socket open that it could not connect.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)
            gc.collect()
