"""Signatures as Standard Webhooks has them, under secrets that are stored nowhere.

A webhook's secret is derived from the secret of its space, which the store keeps beside the ledger, and a salt, which
is an ordinary fact. So whoever reads the ledger, its history or its answers learns no secret, a rotation is a new salt,
and what signs needs nothing but the store.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Sequence
from datetime import datetime

from standardwebhooks import Webhook as Signer

__all__ = ["secret_of", "signed_headers"]


def secret_of(space_secret: bytes, webhook_id: str, salt: str) -> str:
    """Return the secret that belongs to a webhook and a salt, as Standard Webhooks writes one."""
    key = hmac.digest(space_secret, f"webhook {webhook_id} {salt}".encode(), "sha256")
    return f"whsec_{base64.b64encode(key).decode()}"


def signed_headers(secrets: Sequence[str], message_id: str, now: datetime, body: bytes) -> dict[str, str]:
    """Return the three headers of a signed call; one signature for each secret, so that either is found good."""
    text = body.decode()
    signatures = [Signer(secret).sign(message_id, now, text) for secret in secrets]
    return {
        "webhook-id": message_id, "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": " ".join(signatures),
    }  # fmt: skip
