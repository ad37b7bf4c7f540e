"""Asking a server on loopback whether it answers, over Bolt and over HTTP."""

from __future__ import annotations

import base64
import errno
import http.client
import json
import socket
from enum import StrEnum
from typing import Final

from latewood.clients.neo4j_local.configuration import HOST
from latewood.graph_schema.errors import InvalidError

__all__ = ["DATABASE", "USER", "Answer", "ask", "free_port", "require_free", "speaks_bolt"]

USER: Final = "neo4j"
DATABASE: Final = "neo4j"
_ANSWER_S_MAX: Final = 10.0
_ANSWER_BYTES_MAX: Final = 65_536
_PORT_MAX: Final = 65_535
_BOLT: Final = bytes.fromhex("6060b017 00000405 00000000 00000000 00000000")
"""The greeting of Bolt, with the one version 5.4 offered, which 5.26 and 2026.x both speak."""


class Answer(StrEnum):
    """What came back over HTTP."""

    READY = "ready"
    NOT_YET = "not yet"
    WRONG_PASSWORD = "wrong password"  # noqa: S105 - the name of an answer


def require_free(port: int, option: str) -> None:
    """Refuse a port that is taken or none. Raises InvalidError (``setting.invalid``)."""
    if not 0 <= port <= _PORT_MAX:
        msg = f"{port} is no port; name one of 0 to {_PORT_MAX} with {option}, 0 for any that is free"
        raise InvalidError(msg, code="setting.invalid", port=port)
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((HOST, port))
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"cannot be bound ({error.strerror})"
            msg = f"port {port} of {HOST} {why}; name another with {option}, or 0 for any that is free"
            raise InvalidError(msg, code="setting.invalid", port=port) from error


def free_port() -> int:
    """Find a port that nobody has just now."""
    with socket.socket() as listener:
        listener.bind((HOST, 0))
        return int(listener.getsockname()[1])


def speaks_bolt(port: int) -> bool:
    """Whether a Bolt server takes a greeting at *port*."""
    try:
        with socket.create_connection((HOST, port), timeout=_ANSWER_S_MAX) as link:
            link.sendall(_BOLT)
            return link.recv(4) == _BOLT[4:8]
    except OSError:
        return False


def ask(port: int, password: str) -> Answer:
    """Run a query over HTTP, so that the database, and not only its door, is known to be open."""
    link = http.client.HTTPConnection(HOST, port, timeout=_ANSWER_S_MAX)
    token = base64.b64encode(f"{USER}:{password}".encode()).decode()
    headers = {"Authorization": f"Basic {token}", "Content-Type": "application/json", "Accept": "application/json"}
    try:
        link.request("POST", f"/db/{DATABASE}/query/v2", json.dumps({"statement": "RETURN 1"}), headers)
        answer = link.getresponse()
        answer.read(_ANSWER_BYTES_MAX)
        if answer.status == http.HTTPStatus.UNAUTHORIZED:
            return Answer.WRONG_PASSWORD
        return Answer.READY if answer.status in (http.HTTPStatus.OK, http.HTTPStatus.ACCEPTED) else Answer.NOT_YET
    except (OSError, http.client.HTTPException):
        return Answer.NOT_YET
    finally:
        link.close()
