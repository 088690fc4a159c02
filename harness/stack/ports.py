"""Loopback ports that are chosen early and nobody can take until the stack is down."""

from __future__ import annotations

import socket

from harness.errors import StackError
from harness.model.stack import Address

LOOPBACK = "127.0.0.1"


class Ports:
    """Ports of loopback, each held by a bound socket that never listens.

    A connection to a held port is refused by the kernel. The kernel gives a held port to nobody who asks for any free
    one, but a server that sets SO_REUSEADDR (Go, Redis, MariaDB, Python and nearly every other does) can bind it beside
    us as long as we do not listen (socket(7)). So a port is safe from the moment it is chosen, over every restart of
    its component, until `close`.
    """

    def __init__(self) -> None:
        self._held: dict[Address, socket.socket] = {}

    def take(self) -> Address:
        """A free port, held from now on.

        Raises:
            StackError: the machine has no free port or no free descriptor.
        """
        holder = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((LOOPBACK, 0))
        except OSError as error:
            holder.close()
            raise StackError("No free port can be had on loopback", seen=str(error)) from error
        address = Address(*holder.getsockname())
        self._held[address] = holder
        return address

    def release(self, address: Address) -> None:
        """Gives one port back, for a server that does not set SO_REUSEADDR; nothing if it is not held."""
        if (holder := self._held.pop(address, None)) is not None:
            holder.close()

    def close(self) -> None:
        """Gives every port back."""
        for address in list(self._held):
            self.release(address)


def who_listens(address: Address) -> str | None:
    """Who listens at an address, as a sentence's end (`process 12 (nginx)`); None where nobody does."""
    try:
        socket.create_connection((address.host, address.port), timeout=0.2).close()
    except OSError:
        return None
    import psutil  # noqa: PLC0415 - needed on a bad day only

    try:
        for connection in psutil.net_connections("tcp"):
            here = connection.laddr and connection.laddr.port == address.port
            if here and connection.status == psutil.CONN_LISTEN and connection.pid:
                return f"process {connection.pid} ({psutil.Process(connection.pid).name()})"
    except psutil.Error:
        return "a process that we may not look at"
    return "a process of another user"
