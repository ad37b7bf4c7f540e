-- name: held
-- The row of one message before one group.
select grp, message, seq, priority, ordering, size, ready_at, failures, state, at, owner, fence, taken
from queued where space = ? and grp = ? and message = ?

-- name: rows_of_message
-- The rows of one message before all groups.
select grp, message, seq, priority, ordering, size, ready_at, failures, state, at, owner, fence, taken
from queued where space = ? and message = ?

-- name: put
-- Put a message before a group.
insert into queued(
  space, grp, message, seq, priority, ordering, size, ready_at, failures, state, at, owner, fence, taken)
values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, null, 0, 0)

-- name: drop
-- Take a message away from a group.
delete from queued where space = ? and grp = ? and message = ? returning ordering, size

-- name: put_off
-- A group gets a message again from an instant on.
update queued set state = 1, at = ?4, ready_at = ?4, failures = ?5, owner = null
where space = ?1 and grp = ?2 and message = ?3

-- name: open_first
-- Let the first of an ordering key go, when it was blocked.
update queued set state = 1, at = ready_at where space = ?1 and grp = ?2 and state = 2 and message = (
  select message from queued where space = ?1 and grp = ?2 and ordering = ?3 order by seq limit 1)

-- name: is_behind
-- Whether a message of the ordering key waits before a group.
select 1 from queued where space = ? and grp = ? and ordering = ? limit 1

-- name: count
-- Note how many messages and bytes came to a group or went.
insert into lane(space, grp, pending, bytes) values(?1, ?2, ?3, ?4)
on conflict(space, grp) do update set pending = pending + ?3, bytes = bytes + ?4

-- name: lane
-- How much waits for a group.
select pending, bytes from lane where space = ? and grp = ?

-- name: next_at
-- When the next message is due that is not ready.
select min(at) from queued where space = ? and grp = ? and state = 1 and at > ?

-- name: promote
-- Let messages be ready that are due.
update queued set state = 0, at = 0 where space = ?1 and grp = ?2 and message in (
  select message from queued where space = ?1 and grp = ?2 and state = 1 and at <= ?3 order by at limit ?4)

-- name: first_ready
-- The messages that are handed out next.
select message, fence, failures, taken from queued where space = ? and grp = ? and state = 0
order by priority desc, seq limit ?

-- name: hand_out
-- Let a message be somebody's for some time.
update queued set state = 1, at = ?, owner = ?, fence = fence + 1, taken = taken + 1
where space = ? and grp = ? and message = ?

-- name: extend
-- Let a message be its owner's until later.
update queued set at = ? where space = ? and grp = ? and message = ?

-- name: hand_back
-- Let a message be nobody's.
update queued set state = 0, at = 0, owner = null, taken = taken - 1 where space = ? and grp = ? and message = ?

-- name: list
-- What waits for a group, by its place.
select grp, message, seq, priority, ordering, size, ready_at, failures, state, at, owner, fence, taken
from queued where space = ? and grp = ? and (seq, message) > (?, ?) order by seq, message limit ?

-- name: rows_of_messages
-- The rows of some messages before all groups.
select grp, message, seq, priority, ordering, size, ready_at, failures, state, at, owner, fence, taken
from queued where space = ? and message in (select unhex(value) from json_each(?))

-- name: strays
-- Rows of messages that are no node.
select grp, message from queued q where space = ? and not exists (
  select 1 from node where node.space = q.space and node.id = q.message) limit ?

-- name: counted
-- What waits for each group, counted, beside what is noted.
select g.grp, g.pending, g.bytes, coalesce(l.pending, 0), coalesce(l.bytes, 0) from (
  select grp, count(*) as pending, sum(size) as bytes from queued where space = ?1 group by grp) g
left join lane l on l.space = ?1 and l.grp = g.grp
union all
select l.grp, 0, 0, l.pending, l.bytes from lane l where l.space = ?1 and (l.pending <> 0 or l.bytes <> 0)
and not exists (select 1 from queued q where q.space = ?1 and q.grp = l.grp)

-- name: count_exactly
-- Note what waits for a group.
insert or replace into lane(space, grp, pending, bytes) values(?, ?, ?, ?)

-- name: restate
-- Let a row be what the ledger says, whoever has it.
update queued set seq = ?4, priority = ?5, ordering = ?6, size = ?7, ready_at = ?8, failures = ?9
where space = ?1 and grp = ?2 and message = ?3
