"""How a server is set up, beside the memory that it serves."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from latewood.execution import Workflow
from latewood.execution.loading import workflows_in
from latewood.execution.webhooks import Targets
from latewood.graph_schema.errors import InvalidError
from latewood.memory.credentials import Verifier
from latewood.server.graphql.documents import TrustedDocuments
from latewood.server.guard import origin_of
from latewood.server.throttle import AT_ONCE_MAX, RATE_MAX

__all__ = ["ServerOptions", "read_options"]

_RATE_LIMIT: Final = 100_000.0


@dataclass(frozen=True, slots=True)
class ServerOptions:
    """What may be set from outside.

    Attributes:
        trusted: the only GraphQL documents that are run; None for any.
        auth: ask everybody for a credential; without it only this machine is served.
        tokens: verifies bearer tokens that are no keys of the store; None for none.
        issuer: who signs those, for clients that must find it.
        hosts: names that the server goes by; with *auth* and none named, any.
        origins: of the pages that may call it.
        public_url: where it is reached from outside, as https://memory.example, for what names itself.
        rate: requests a second of one credential.
        at_once: requests of one credential at once.
        log: write a line for each request.
        workflows: what is run in the server's own process, in the memory's space.
        watch: end what is overdue, whoever was to run it, and deliver what waits for webhooks.
        targets: judges where webhooks may be called.
        patterns: look for patterns in the memory's space whenever something new was said.
    """

    trusted: TrustedDocuments | None = None
    auth: bool = False
    tokens: Verifier | None = None
    issuer: str | None = None
    hosts: frozenset[str] = frozenset()
    origins: frozenset[str] = frozenset()
    public_url: str | None = None
    rate: float = RATE_MAX
    at_once: int = AT_ONCE_MAX
    log: bool = False
    workflows: tuple[Workflow[..., Any], ...] = ()
    watch: bool = False
    targets: Targets = field(default_factory=Targets)
    patterns: bool = False


def read_options(
    *, documents: Path | None = None, auth: bool = False, hosts: Iterable[str] = (), origins: Iterable[str] = (),
    public_url: str | None = None, rate: float | None = None, jwks: Path | None = None, issuer: str | None = None,
    audience: str | None = None, workflows: Sequence[str] = (), webhook_networks: Sequence[str] = (),
    patterns: bool = True,
) -> ServerOptions:  # fmt: skip
    """Read what a command line says.

    Raises:
        InvalidError: codes ``setting.invalid``, ``file.unreadable``.
        NotFoundError: a module of workflows is not there, or has none (``run.workflow_unknown``).
    """
    named = [one is not None for one in (jwks, issuer, audience)]
    if any(named) and not all(named):
        msg = "tokens take all three: --jwks FILE, --jwt-issuer URL and --jwt-audience NAME"
        raise InvalidError(msg, code="setting.invalid")
    if rate is not None and not 1 <= rate <= _RATE_LIMIT:
        msg = f"--rate is {rate}; it is 1 to {_RATE_LIMIT:,.0f} requests a second"
        raise InvalidError(msg, code="setting.invalid")
    tokens = None
    if jwks is not None and issuer is not None and audience is not None:
        # Loaded when needed: a server that takes keys alone has no use for it.
        from latewood.server.tokens import JwtVerifier

        tokens = JwtVerifier.read(jwks, issuer=issuer, audience=audience)
    return ServerOptions(
        trusted=None if documents is None else TrustedDocuments.read(documents), auth=auth, tokens=tokens,
        issuer=issuer, hosts=frozenset(one.strip().lower() for one in hosts),
        origins=frozenset(origin_of(one) for one in origins),
        public_url=None if public_url is None else origin_of(public_url), rate=RATE_MAX if rate is None else rate,
        log=auth, workflows=workflows_in(workflows), watch=True, targets=Targets.read(webhook_networks),
        patterns=patterns,
    )  # fmt: skip
