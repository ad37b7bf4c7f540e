"""The faults of disk and server that are tested, in words; each names the test that saw it, and the page lists them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

__all__ = ["FAULTS", "Fault"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What was done to a store, what was seen, and the name of the test that saw it."""

    store: str
    what: str
    seen: str
    test: str


FAULTS: Final = (
    Fault(
        "SQLite", "the disk full, or failing, from the n-th write or sync of a commit on, for every n",
        "`disk.full` or `store.unavailable`, nothing kept; repeated once the disk works, without opening the store "
        "again, the write is kept once",
        "test_a_write_that_fails_at_any_operation_is_not_accepted_and_the_next_one_is",
    ),
    Fault(
        "SQLite", "the same during a checkpoint",
        "what was acknowledged stays; the checkpoint is made up for later",
        "test_a_checkpoint_that_fails_at_any_operation_is_made_up_for_later",
    ),
    Fault(
        "SQLite", "the disk failing from the n-th read on, for every n",
        "`store.unavailable` or `file.unreadable`, never a wrong answer",
        "test_a_read_that_fails_at_any_operation_says_so_and_the_next_one_does_not",
    ),
    Fault(
        "SQLite", "the system's own limit on the size of a file (EFBIG) met, then lifted",
        "`store.unavailable`; everything acknowledged is there, and the same write is kept afterwards",
        "test_a_file_that_may_grow_no_further_keeps_what_it_has",
    ),
    Fault(
        "SQLite", "a user without the right to write the file or its folder",
        "reads answer, also while its owner writes; a write is `store.read_only`",
        "test_a_file_of_another_user_can_be_read_and_a_write_says_so",
    ),
    Fault(
        "SQLite", "an archive that may only be read, changed by its owner meanwhile",
        "`store.unavailable` once, then the new answer; never half of each",
        "test_a_file_that_may_only_be_read_is_never_read_by_halves",
    ),
    Fault(
        "SQLite", "the file removed or renamed while it is open",
        "`store.unavailable` at once, for reads too; no new file is made; put back, it is used again",
        "test_a_file_taken_away_is_missed_at_once_and_welcome_back",
    ),
    Fault(
        "SQLite", "another database put in its place while it is open",
        "`store.unavailable` until the old one's log is gone too, and once more to say so; then the new one is used",
        "test_a_file_put_in_its_place_is_not_written_unawares_and_then_is",
    ),
    Fault(
        "SQLite", "another program's database put in its place",
        "`file.not_a_store`; that file is left alone",
        "test_a_file_that_is_no_store_put_in_its_place_is_left_alone",
    ),
    Fault(
        "SQLite", "the lock for writing held by another process beyond the wait",
        "`store.busy`; reads go on; repeated later, the write is kept once",
        "test_a_write_lock_held_too_long_is_busy_and_then_over",
    ),
    Fault(
        "SQLite", "the process that holds the lock killed",
        "the waiting write is kept",
        "test_the_process_that_held_the_lock_is_killed_and_the_next_write_is_kept",
    ),
    Fault(
        "Neo4j", "the connection cut as a commit is sent: before it arrives, while the server works, after it answered",
        "the store asks after the unit and gives its receipt, or keeps it then; once in the ledger, with and without "
        "an idempotency key",
        "test_a_wire_cut_at_the_commit_doubles_nothing_and_loses_nothing",
    ),
    Fault(
        "Neo4j", "the same at random under load",
        "what is in the ledger is exactly what was acknowledged",
        "test_a_wire_cut_at_random_under_load_doubles_nothing_and_loses_nothing",
    ),
    Fault(
        "Neo4j", "no byte passing for a while",
        "the write waits and is kept once",
        "test_a_wire_held_for_a_while_delays_and_does_no_more",
    ),
    Fault(
        "Neo4j", "no byte passing any more (`?timeout=8` in the address; 60 s without it)",
        "reads and writes are `store.unavailable` within the timeout and a few seconds; the connection is given up, and "
        "the next call goes on once bytes pass again",
        "test_a_wire_that_falls_silent_is_given_up_in_time",
    ),
    Fault(
        "Neo4j", "no byte passing from a commit on: the commit held back, or only the answer to it",
        "`store.outcome_unknown` within the timeout and 20 s; what was held back arrives later; the write repeated under "
        "its key is in the ledger once",
        "test_a_wire_that_falls_silent_at_the_commit_doubles_nothing_and_loses_nothing",
    ),
    Fault(
        "Neo4j", "the server standing still (SIGSTOP) under load, its connections open, and going on later (SIGCONT)",
        "reads and writes are given up as above; afterwards what is in the ledger is exactly what was acknowledged",
        "test_a_server_that_stands_still_under_load_is_given_up_in_time_and_used_again",
    ),
    Fault(
        "Neo4j", "the server stopped, or killed by SIGKILL, and started again, twice, under load",
        "writes and reads are `store.unavailable` (a write caught in its commit `store.outcome_unknown`); the process "
        "goes on by itself; every acknowledged write is found, and nothing else",
        "test_a_server_that_goes_and_comes_back_under_load_keeps_every_acknowledged_write",
    ),
)  # fmt: skip
