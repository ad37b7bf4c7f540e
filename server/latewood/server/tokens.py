"""Bearer tokens that somebody else signs: JSON Web Tokens, against a set of public keys in a file.

Nothing is fetched: whoever runs the server puts the issuer's key set (JWKS) beside it and restarts to change it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, cast

import jwt

from latewood.graph_schema.errors import ForbiddenError, InvalidError
from latewood.graph_schema.model import Trust
from latewood.memory.credentials import Credential, check_tenant, read_scopes

__all__ = ["ALGORITHMS", "JwtVerifier"]

ALGORITHMS: Final = ("RS256", "PS256", "ES256", "ES384", "EdDSA")
"""How a token may be signed: with public keys only, so that what verifies cannot sign."""
_FILE_BYTES_MAX: Final = 1_000_000
_LEEWAY_S: Final = 30
_REQUIRED: Final = ("exp", "iss", "aud", "sub")


class JwtVerifier:
    """Verifies tokens of one issuer for one audience.

    Claims: ``sub`` is the actor (``agent:planner``; without a kind it is a human), ``scope`` the scopes, separated by
    spaces, ``tenant`` whose data, ``act.sub`` (RFC 8693) who acts for ``sub``, ``trust`` a ceiling.
    """

    def __init__(self, keys: jwt.PyJWKSet, *, issuer: str, audience: str) -> None:
        """Take tokens of *issuer* that were made out to *audience*."""
        self._keys = {one.key_id: one for one in keys.keys}
        self._issuer = issuer
        self._audience = audience

    @classmethod
    def read(cls, path: Path, *, issuer: str, audience: str) -> JwtVerifier:
        """Read a JWKS. Raises InvalidError (``file.unreadable``, ``setting.invalid``)."""
        try:
            text = "" if path.stat().st_size > _FILE_BYTES_MAX else path.read_text(encoding="utf-8")
            keys = jwt.PyJWKSet.from_dict(json.loads(text))
        except OSError as error:
            raise InvalidError(f"{path} cannot be read: {error.strerror}", code="file.unreadable") from error
        except (jwt.PyJWTError, ValueError, RecursionError, AttributeError, TypeError) as error:
            msg = f'{path} is no set of keys: {{"keys": [...]}} as the issuer publishes it ({error})'
            raise InvalidError(msg, code="setting.invalid") from error
        weak = [one.key_id for one in keys.keys if one.algorithm_name not in ALGORITHMS or one.key_id is None]
        if weak:
            msg = f"each key of {path} needs a kid, and an alg of {', '.join(ALGORITHMS)}"
            raise InvalidError(msg, code="setting.invalid")
        return cls(keys, issuer=issuer, audience=audience)

    async def verify(self, token: str) -> Credential | None:
        """Return whose *token* is, None when it is no JSON Web Token.

        Raises:
            ForbiddenError: codes ``credential.invalid``, ``credential.expired``.
        """
        if token.count(".") != 2:  # noqa: PLR2004 - a header, a payload and a signature
            return None
        try:
            key = self._keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise ForbiddenError("the token is signed with no key that this server has", code="credential.invalid")
            # The key says how it signs; what the token says of that is not asked.
            claims = jwt.decode(
                token, key, algorithms=[key.algorithm_name], audience=self._audience, issuer=self._issuer,
                leeway=_LEEWAY_S, options={"require": list(_REQUIRED)},
            )  # fmt: skip
        except jwt.ExpiredSignatureError as error:
            msg = "the token has expired; ask its issuer for another"
            raise ForbiddenError(msg, code="credential.expired") from error
        except (jwt.PyJWTError, ValueError, RecursionError) as error:
            msg = f"the token does not verify: {type(error).__name__}"
            raise ForbiddenError(msg, code="credential.invalid") from error
        return self._credential(claims)

    def _credential(self, claims: Mapping[str, Any]) -> Credential:
        subject = _actor(str(claims["sub"]))
        acting = cast("object", claims.get("act"))
        other = cast("Mapping[str, object]", acting).get("sub") if isinstance(acting, dict) else None
        scope = claims.get("scope", "")
        trust = claims.get("trust")
        try:
            return Credential(
                f"jwt:{self._issuer}#{claims['sub']}", check_tenant(str(claims.get("tenant", ""))),
                subject if other is None else _actor(str(other)),
                # A token of an issuer that serves others too has scopes of theirs: those say nothing here.
                read_scopes(word for word in str(scope).split() if word in _SCOPES),
                None if other is None else subject, None if trust is None else Trust(str(trust)),
                datetime.fromtimestamp(int(claims["exp"]), UTC),
            )  # fmt: skip
        except (InvalidError, ValueError, OverflowError) as error:
            msg = f"the token says too little or too much: {error}"
            raise ForbiddenError(msg, code="credential.invalid") from error


_SCOPES: Final = frozenset({"read", "write", "erase", "run", "admin"})


def _actor(subject: str) -> str:
    return subject if ":" in subject else f"human:{subject}"
