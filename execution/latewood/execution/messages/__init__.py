"""Messages between agents: durable, handed out to one at a time, settled once, as nodes of the execution ledger."""

from __future__ import annotations

from latewood.execution.messages.channels import Channels
from latewood.execution.messages.dead_letters import DeadLetters
from latewood.execution.messages.post import Post
from latewood.execution.messages.receiving import LEASE_S, Receiving
from latewood.execution.messages.sending import Sending
from latewood.execution.messages.words import (
    PAYLOAD_BYTES_MAX,
    Channel,
    DeadLetter,
    Delivery,
    Group,
    Limits,
    Message,
    Published,
    Received,
    Settled,
)

__all__ = [
    "LEASE_S", "PAYLOAD_BYTES_MAX", "Channel", "DeadLetter", "Delivery", "Group", "Limits", "Message", "Messages",
    "Post", "Published", "Received", "Settled",
]  # fmt: skip


class Messages(Channels, Sending, Receiving, DeadLetters):
    """The messages of a space: channels, publishing, receiving, dead letters. Made by `latewood.memory.messages`."""

    def __init__(self, post: Post) -> None:
        """Act through *post*, as its actor."""
        self._post = post
