"""Taking in what a caller sends as text: `ingest`."""

from __future__ import annotations

from enum import StrEnum

import strawberry
from strawberry.scalars import JSON

from latewood.graph_schema.errors import RefusedError
from latewood.ingestion.sources.loading import SourceReport
from latewood.ingestion.sources.transcripts import HUMAN, TranscriptFormat
from latewood.memory.receiving import note_refusal
from latewood.memory.uploads import (
    UPLOAD_BYTES_MAX,
    UPLOAD_FILES_MAX,
    Upload,
    UploadedFile,
    UploadSource,
    ingest_upload,
)
from latewood.server.graphql.arguments import InSpace
from latewood.server.graphql.context import Info
from latewood.server.graphql.scalars import describe
from latewood.server.graphql.types import field

__all__ = ["UploadMutation"]

describe(
    UploadSource,
    "What is sent; docs/guide/sources.md says how each is read.",
    {
        UploadSource.TRANSCRIPT: "Transcripts of agents: Claude Code, Codex, items of OpenAI's Responses.",
        UploadSource.TRACE: "OpenTelemetry traces, OTLP as JSON.",
        UploadSource.NOTES: "Markdown notes.",
        UploadSource.MEMORY: "The memory.jsonl of the MCP reference server: one file.",
    },
)


class TranscriptForm(StrEnum):
    """Whose transcripts they are."""

    CLAUDE = "claude"
    CODEX = "codex"
    RESPONSES = "responses"


describe(
    TranscriptForm,
    "Whose transcripts they are.",
    {
        TranscriptForm.CLAUDE: "Claude Code's.",
        TranscriptForm.CODEX: "Codex's rollouts.",
        TranscriptForm.RESPONSES: "Items of OpenAI's Responses.",
    },
)
_FORMS: dict[TranscriptForm, TranscriptFormat] = {
    TranscriptForm.CLAUDE: "claude", TranscriptForm.CODEX: "codex", TranscriptForm.RESPONSES: "responses"
}  # fmt: skip


@strawberry.input(description="A file that is sent.")
class IngestFile:
    """A file that is sent."""

    name: str = strawberry.field(description="A relative path, such as 2026/notes.md; no path of the server.")
    text: str = strawberry.field(description="What is in it.")


@strawberry.input(description="What is to be taken in.")
class IngestInput:
    """What is to be taken in."""

    source: UploadSource = strawberry.field(description="What the files are.")
    files: list[IngestFile] = strawberry.field(
        description=f"At most {UPLOAD_FILES_MAX}, of {UPLOAD_BYTES_MAX:,} bytes together."
    )
    name: str | None = strawberry.field(
        default="upload", description="Of the whole; edited notes under the same name take the place of the old."
    )
    form: TranscriptForm | None = strawberry.field(
        default=None, description="Of transcripts; left out, the first lines tell."
    )
    human: str | None = strawberry.field(default=HUMAN, description="The actor whose the turns of users are.")
    author: str | None = strawberry.field(
        default=None, description="The actor whose notes they are, or who kept the memory; left out, the caller."
    )
    session: str | None = strawberry.field(default=None, description="Of Responses items, which name none.")
    dry_run: bool | None = strawberry.field(default=False, description="Read and report, write nothing.")


@strawberry.type(description="What was not taken, and why.")
class IngestReject:
    """What was not taken, and why."""

    path: str = field("The file, by the name it was sent under.")
    line: int = field("The line in it.")
    kind: str = field("The class of the fault.")
    code: str = field("The code of the reason.")
    reason: str = field("The reason.")


@strawberry.type(description="What was read, kept and left; the lines by their sorts and the rejected sum up to all.")
class IngestReport:
    """What was read, kept and left."""

    path: str = field("What was sent, by its name.")
    space: str = field("Where it was kept.")
    source: str = field("What it was.")
    dry_run: bool = field("Whether nothing was to be written.")
    files: int = field("Files read.")
    lines: int = field("Lines read.")
    items: int = field("What they say.")
    written: int = field("Of that, what was new.")
    replayed: int = field("What was known already.")
    late: int = field("What came later than the history of its space.")
    rejected: int = field("Lines that were not taken.")
    refused: int = field("Items that the store did not keep.")
    open_calls: int = field("Calls whose end is not told.")
    what: JSON = field("How many lines of each sort.")
    left_out: JSON = field("Parts that are not kept, by name.")
    rejects: list[IngestReject] = field("The first of what was not taken.")
    clock_disagreements: JSON = field("Times that run backwards, or lie ahead.")
    dangling: JSON = field("Lines that answer one that is not there.")
    cyclic: JSON = field("Lines that answer themselves in the end.")
    unknown: JSON = field("Sorts of lines that this version does not know.")
    gone: JSON = field("What was there before and is not any more; it was not ended.")
    problems: JSON = field("What else a person should look at.")
    receipt: strawberry.ID | None = field("Of the last unit that was new, or known.")
    refusal: strawberry.ID | None = field("The receipt of the first that the store did not keep.")


@strawberry.type
class UploadMutation:
    """Taking in what is sent."""

    @strawberry.mutation(
        graphql_type=IngestReport,
        description=(
            "Take in transcripts, traces, notes or a memory, sent as text, into a space that is there; sent again, it "
            "writes nothing. It is kept in the names of those who spoke, believed no further than the caller. Scopes: "
            "write and run."
        ),
    )
    async def ingest(
        self, info: Info, input: IngestInput, space: InSpace = None,  # noqa: A002
    ) -> SourceReport:  # fmt: skip
        """Take in what is sent."""
        memory = info.context.write(info, space).memory
        files = [UploadedFile(one.name, one.text) for one in input.files]
        upload = Upload(
            input.source, files, input.name or "upload", input.human or HUMAN, input.author, input.session,
            None if input.form is None else _FORMS[input.form], dry_run=bool(input.dry_run),
        )  # fmt: skip
        try:
            return await ingest_upload(memory, upload)
        except RefusedError as error:
            await note_refusal(memory, error, b"ingest")
            raise
