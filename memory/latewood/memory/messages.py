"""Messages between agents through the one door: over the handle's store, in its space, as its actor."""

from __future__ import annotations

from latewood.execution.messages import Messages, Post
from latewood.memory.api import Memory
from latewood.memory.runs import book_of

__all__ = ["messages_of"]


def messages_of(memory: Memory) -> Messages:
    """Return the messages of the handle's space; a handle without an actor only looks.

    Keep what it returns: it remembers the channels that it has met.
    """
    return Messages(Post(book_of(memory)))
