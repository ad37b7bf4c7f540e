"""The one error tree of Latewood.

    LatewoodError
    ├── RefusedError        the caller's input: mend it, then call again
    │   ├── InvalidError        a value, time, period, text or file that cannot be taken
    │   ├── NotFoundError       an id, key or space that is not there (or not yours)
    │   ├── ConflictError       a version, key or state that moved
    │   ├── ForbiddenError      trust or credential too low
    │   └── LimitError          a named bound was met
    ├── UnavailableError    nothing was accepted: try again
    └── CorruptError        ours: stop, and run `latewood doctor`

A message names the value, the place and the way out. `code` is stable and the same in Python, GraphQL, MCP and the CLI;
every code in `CODES` is documented in docs/reference/errors.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = [
    "CODES",
    "ConflictError",
    "CorruptError",
    "ForbiddenError",
    "InvalidError",
    "LatewoodError",
    "LimitError",
    "NotFoundError",
    "RefusedError",
    "UnavailableError",
]

CODES: Final[Mapping[str, str]] = {
    "actor.missing": "The handle has no actor, so it may read but not write. Say `by` whom, such as human:you.",
    "channel.full": "The channel has as many messages pending as it may; the error says how many. Try again later.",
    "channel.unknown": "No channel or group of this name in this space; the list of channels has those there are.",
    "content.erased": "What was named was erased already; only its tombstone is left. Write under a new key.",
    "credential.actor": "A credential writes in the name of its own actor, to its own tenant; leave both out.",
    "credential.expired": "The key or token has expired or was revoked. Ask whoever made it for another.",
    "credential.invalid": "The key or token is not one that this server takes.",
    "credential.malformed": "A key cannot be made so: its name, actor, tenant, scopes or time; see the message.",
    "credential.missing": "This server asks for a credential: send `Authorization: Bearer` with a key or a token.",
    "credential.scope": "The credential lacks the scope that this takes; the error names it.",
    "credential.unknown": "No key has this id.",
    "cursor.invalid": "The cursor was not made by this list, or its list changed shape. Start again without it.",
    "decision.cyclic": "The supersession would make a decision its own successor.",
    "demo.data_missing": "The demo's records were not found beside the code.",
    "disk.full": "The disk took no more; nothing of the write was kept. Free space, then repeat with the same key.",
    "document.unknown": "The server runs trusted documents only, and this is none of them.",
    "embedder.answer_invalid": "The embedder answered with something else than the vectors asked for; see the message.",
    "embedder.failed": "The embedder's runtime failed. Words are found without vectors; the error says how it failed.",
    "embedder.missing": "The embedder's package or model is not installed; the error says what to run.",
    "embedder.model_differs": "The embedder's model is not the file it must be; the error says how to install it anew.",
    "embedder.refused": "The embedder's server refused: check its model, its address and its key.",
    "embedder.unavailable": "The embedder's server cannot be reached or is too busy. Vectors are filled in later.",
    "erase.forbidden": "Only a person may erase: the caller's trust is below human.",
    "event.malformed": "An event is none of CloudEvents 1.0, or its data no object; see the message.",
    "export.empty": "There is nothing to export or to import: no rows.",
    "fact.not_holding": "The fact does not hold at the instant named; the error says what does.",
    "fact.retracted": "The fact is retracted already; a retraction is not undone: assert it again.",
    "file.exists": "The file or folder is there already; it is not overwritten.",
    "file.not_a_store": "The file is not a Latewood database.",
    "file.unreadable": "A file or folder could not be read or written: see the message.",
    "generation.current": "The generation answers searches now; switch to another one before it is dropped.",
    "generation.exists": "A generation of this name holds vectors of another model or length. Choose another name.",
    "generation.unknown": "The space has no generation of vectors of this name; `reindex` makes one.",
    "idempotency.conflict": "The same idempotency key came with another payload. Use a new key.",
    "import.differs": "What was imported answers otherwise than where it came from; nothing of it should be trusted.",
    "import.malformed": "A line or document of an import is malformed; it is named with its place.",
    "internal": "An unexpected fault on our side; its id is in the log.",
    "java.missing": "No Java that the Neo4j asked for runs on was found; the error says how to install one.",
    "key.ambiguous": "A key names several nodes; the error lists the full keys.",
    "key.taken": "The key belongs to another node already.",
    "ledger.execution": "How runs and messages stand is kept by what runs and sends them; their verbs act on them.",
    "lease.lost": "The lease ended or went to another owner; the fence is stale.",
    "ledger.corrupt": "The ledger does not verify; the first bad row is named.",
    "limit.exceeded": "A named limit was met; the error has its name and value.",
    "maven.missing": "Maven was not found; it fetches Neo4j once. The error says how to install it.",
    "message.expired": "The message is past its expiry before it was published.",
    "message.refused": "The message does not fit its channel's schema; the error has the path. Nothing was enqueued.",
    "message.unknown": "No message, delivery or dead letter with this id in this space.",
    "merge.exists": "The node was merged into another already. Split it first, or merge the other one.",
    "merge.invalid": "This cannot be merged or split, or only with `merge` and `split`: see the message.",
    "model.answer_invalid": "The model's server answered with something else than a chat's answer; see the message.",
    "model.refused": "The model's server refused: check its name, its address and its key.",
    "model.unavailable": "The model's server cannot be reached or is too busy. Run the extraction again to go on.",
    "neo4j.assembly_failed": "Neo4j could not be fetched from Maven Central; nothing half-done is left.",
    "neo4j.other_version": "The home holds the data of another line of Neo4j releases; name another home.",
    "neo4j.password_wrong": "The server has another password than the one kept here; give the present one.",
    "neo4j.running": "A Neo4j runs in this home already, otherwise than asked for. Stop it, or name another home.",
    "neo4j.start_failed": "Neo4j did not start; the message has the end of its log.",
    "neo4j.stop_failed": "Neo4j did not end; its processes are named.",
    "node.not_found": "No node or fact with this id or key in this space.",
    "origin.refused": "Another host or page called the server than this machine's and those that it was told of.",
    "pack.invalid": "A pack file is malformed.",
    "path.unknown": "There is no paved path of this name; the error lists those that there are.",
    "period.empty": "A period must end after it starts.",
    "predicate.unknown": "A strict space takes only predicates that a pack declares.",
    "proposal.malformed": "A part of a model's answer is no proposal; nothing of it was kept.",
    "proposal.settled": "The proposal was accepted or rejected before. Write what you hold true instead.",
    "proposal.ungrounded": "A model's proposal rests on no words of the turn that it names; nothing of it was kept.",
    "query.invalid": "The question is malformed: see the message.",
    "question.choice": "The answer is none of the choices; the error lists them.",
    "question.settled": "The question was answered, or denied when its time was over, before.",
    "record.malformed": "A decision record could not be read.",
    "rate.exceeded": "The credential sends more at once than it may. Wait as long as Retry-After says.",
    "remote.malformed": "The server's answer is not one that this client knows. Use client and server of one release.",
    "remote.unreachable": "No server answers at the address. See that it runs, then make the same call again.",
    "request.timeout": "The request, or the answer to it, took too long. Ask for the receipt before you write again.",
    "run.claimed": "Another worker has the run, and is heard of. Claim it once it has been silent for long enough.",
    "run.input": "The input does not fit the workflow's input_schema; the details name the path. No run was begun.",
    "run.ended": "The run is at an end, or not at one, that allows this; its status says where it stands.",
    "run.nondeterministic": "Another step, or other arguments, are kept at this place of the run; fork it from there.",
    "run.outside": "This works within a workflow's run alone; start one with a worker.",
    "run.erased": "Steps of the run were erased: going on would do again what they did. Start another run.",
    "run.runner": "The run is a Python workflow's, whose workers run it; agents claim those started for them.",
    "run.step_failed": "A step of a workflow failed for good, after all that its policy allows.",
    "run.unknown": "No run or step of a workflow with this id or key in this space; `runs` lists the runs.",
    "run.workflow_unknown": "The worker knows no workflow of this name, or two of one name and version.",
    "schema.breaking": "The new schema would break consumers of the channel; the error names them and what breaks.",
    "schema.invalid": "This is no JSON Schema 2020-12 that stands alone, or it is too large; the error says where.",
    "schema.older": "The database has an older schema that is not upgraded unasked. Run `latewood migrate`.",
    "schema.newer": "The database was written by a newer Latewood. Upgrade before you open it.",
    "setting.invalid": "A setting cannot be honoured.",
    "space.exists": "The space exists already.",
    "space.filling": "The space is being filled by another history; let that end, or name another space.",
    "space.name_invalid": "A space name is 1-64 of a-z, 0-9, '.', '_', '-', and starts with a letter or a digit.",
    "space.unknown": "No such space; spaces are made on purpose, never by writing to one.",
    "step.known": "Nobody has to vouch for the step: its outcome is known, or its run went on without it.",
    "step.settled": "Something else is kept of the step already; read the run's steps again.",
    "store.busy": "Another process held the store for too long. Try again.",
    "store.closed": "The store is closed.",
    "store.login": "The database refused the user or the password.",
    "store.outcome_unknown": "The store was lost during the commit. Ask for the receipt, or repeat with the same key.",
    "store.read_only": "The database is read-only here; nothing was written.",
    "store.timeout": "The database did not finish within the time it is given; nothing was kept. Ask for less.",
    "store.unavailable": "The store cannot be reached; nothing was accepted.",
    "store.url_invalid": "The store's address is not one of the known forms.",
    "text.too_long": "A text is longer than its named limit.",
    "time.naive": "A time without an offset is refused: add Z or an offset.",
    "time.unreadable": "A time could not be read: write it as 2026-03-01T09:00:00Z.",
    "time.out_of_range": "A time lies outside the years 1 to 9999.",
    "trust.too_low": "The assertion is of a higher tier than yours; assert a challenger instead.",
    "upload.malformed": "An upload is of some text files with plain relative names; the message says what this one is.",
    "value.invalid": "A value is of no known type, not finite, or too deep.",
    "vector.invalid": "A vector is not of the generation's length, not of length 1, or of a fact that it cannot be of.",
    "version.conflict": "The node changed since the version you expected; read it again.",
    "webhook.target": "A webhook is called by https, at a public address; LATEWOOD_WEBHOOK_NETWORKS names others.",
    "webhook.unknown": "No webhook of this name in this space; the list of webhooks has those there are.",
    "worker.closed": "The worker was closed while a run of it was waited for; another worker goes on with the run.",
}
"""Every stable code with one sentence on what it means and what to do."""


class LatewoodError(Exception):
    """Whatever Latewood raises: a stable `code`, a message that says the way out, and `details` for machines."""

    default_code: str = "internal"

    def __init__(self, message: str, *, code: str | None = None, **details: object) -> None:
        """Take the *message* for people; *code* must be one of `CODES`."""
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.details: dict[str, object] = details
        if self.code not in CODES:  # pragma: no cover - a programming error, met by the first test that raises it
            raise AssertionError(self.code)

    @property
    def branch(self) -> str:
        """One of refused, unavailable, corrupt, internal: what the caller should do next."""
        if isinstance(self, RefusedError):
            return "refused"
        if isinstance(self, UnavailableError):
            return "unavailable"
        return "corrupt" if isinstance(self, CorruptError) else "internal"


class RefusedError(LatewoodError):
    """The caller's input cannot be taken; nothing was written."""

    default_code = "query.invalid"


class InvalidError(RefusedError):
    """A value, time, period, text or file is malformed."""

    default_code = "value.invalid"


class NotFoundError(RefusedError):
    """What was named is not there; `suggestions` in the details hold near names."""

    default_code = "node.not_found"


class ConflictError(RefusedError):
    """Something else was there first: a version, an idempotency key, a state."""

    default_code = "version.conflict"


class ForbiddenError(RefusedError):
    """The caller's trust or credential does not reach."""

    default_code = "trust.too_low"


class LimitError(RefusedError):
    """A named bound was met; `limit` and `maximum` are in the details."""

    default_code = "limit.exceeded"


class UnavailableError(LatewoodError):
    """The store cannot take or answer this now; nothing was accepted, the same call may be made again."""

    default_code = "store.unavailable"


class CorruptError(LatewoodError):
    """What is stored contradicts itself; the details name the first bad row."""

    default_code = "ledger.corrupt"
