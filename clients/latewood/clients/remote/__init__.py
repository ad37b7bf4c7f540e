"""The verbs of `latewood.memory` over HTTP: `from latewood.clients.remote import RemoteMemory`."""

from latewood.clients.remote.answers import Axis, Page, Written
from latewood.clients.remote.blocking import BlockingRemoteMemory, BlockingRemoteMessages
from latewood.clients.remote.memory import RemoteMemory
from latewood.clients.remote.messages import RemoteMessages
from latewood.clients.remote.transport import Patience

__all__ = [
    "Axis", "BlockingRemoteMemory", "BlockingRemoteMessages", "Page", "Patience", "RemoteMemory", "RemoteMessages",
    "Written",
]  # fmt: skip
