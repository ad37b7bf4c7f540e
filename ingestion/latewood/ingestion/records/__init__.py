"""Decision records as they lie in a folder: reading them, their links, their history in git, and writing them as MADR.

Nothing here knows a store. `parse_record` turns one file into a `ParsedRecord`, `link_report` says how the records of a
folder stand to each other, `read_history` yields every version that git knows, and `to_madr` writes a record.
"""

from latewood.ingestion.records.dates import DateReading, day_order, read_date
from latewood.ingestion.records.export import madr_name, to_madr, with_both_sides
from latewood.ingestion.records.folder import FileRole, FolderFile, FolderFiles, disk_exists, file_role, scan_folder
from latewood.ingestion.records.history import RecordHistory, RecordVersion, Uncommitted, read_history
from latewood.ingestion.records.links import (
    BrokenLink,
    Claim,
    Cycle,
    DuplicateNumber,
    FolderIndex,
    LinkReport,
    OneSided,
    Resolved,
    StaleEntry,
    SupersessionEdge,
    link_report,
    record_keys,
    resolve_key,
)
from latewood.ingestion.records.model import (
    PROBLEM_CODES,
    LinkKind,
    ParsedOption,
    ParsedRecord,
    Problem,
    RecordLink,
    Reference,
    Section,
)
from latewood.ingestion.records.parse import RECORD_CHARS_MAX, parse_bytes, parse_record
from latewood.ingestion.records.statuses import StatusReading, read_status

__all__ = [
    "PROBLEM_CODES",
    "RECORD_CHARS_MAX",
    "BrokenLink",
    "Claim",
    "Cycle",
    "DateReading",
    "DuplicateNumber",
    "FileRole",
    "FolderFile",
    "FolderFiles",
    "FolderIndex",
    "LinkKind",
    "LinkReport",
    "OneSided",
    "ParsedOption",
    "ParsedRecord",
    "Problem",
    "RecordHistory",
    "RecordLink",
    "RecordVersion",
    "Reference",
    "Resolved",
    "Section",
    "StaleEntry",
    "StatusReading",
    "SupersessionEdge",
    "Uncommitted",
    "day_order",
    "disk_exists",
    "file_role",
    "link_report",
    "madr_name",
    "parse_bytes",
    "parse_record",
    "read_date",
    "read_history",
    "read_status",
    "record_keys",
    "resolve_key",
    "scan_folder",
    "to_madr",
    "with_both_sides",
]
