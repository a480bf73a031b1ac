"""The address that a gateway listens on."""

import socket


def bind(host: str, port: int) -> socket.socket:
    """Return a socket that has the address, and does not listen yet.

    Raises:
        OSError: another one has it, or it is not ours.
    """
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except OSError:
        listener.close()
        raise
    return listener
