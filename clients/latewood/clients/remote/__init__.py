"""The verbs of `latewood.memory` over HTTP: `from latewood.clients.remote import RemoteMemory`."""

from latewood.clients.remote.answers import Axis, Page, Written
from latewood.clients.remote.blocking import BlockingRemoteMemory, BlockingRemoteMessages, BlockingRemoteRuns
from latewood.clients.remote.memory import RemoteMemory
from latewood.clients.remote.messages import RemoteMessages
from latewood.clients.remote.runs import Held, RemoteRuns, call_of, done_of, trouble_of
from latewood.clients.remote.transport import Patience

__all__ = [
    "Axis", "BlockingRemoteMemory", "BlockingRemoteMessages", "BlockingRemoteRuns", "Held", "Page", "Patience",
    "RemoteMemory", "RemoteMessages", "RemoteRuns", "Written", "call_of", "done_of", "trouble_of",
]  # fmt: skip
