// name: held
// The rows of messages before groups, each with its lane's own key.
UNWIND $places AS one
MATCH (q:SpaceQueued {space: $space, group: one[0], message: one[1]})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
RETURN q{.*};

// name: rows_of_messages
// The rows of messages before all groups.
UNWIND $messages AS one
MATCH (q:SpaceQueued {space: $space, message: one}) USING INDEX SEEK q:SpaceQueued(space, message) RETURN q{.*};

// name: drop
// Take messages away from groups, whose lanes are lighter then.
UNWIND $places AS one
MATCH (q:SpaceQueued {space: $space, group: one[0], message: one[1]})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
WITH q, q.group AS group, q.line AS line, q.size AS size DELETE q
MERGE (l:SpaceLane {space: $space, group: group})
SET l.name = 'lane', l.pending = coalesce(l.pending, 0) - 1, l.bytes = coalesce(l.bytes, 0) - size
RETURN line;

// name: put_off
// Groups get messages again from an instant on.
UNWIND $rows AS row
MATCH (q:SpaceQueued {space: $space, group: row.group, message: row.message})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
SET q.ready = null, q.later = row.later, q.ready_at = row.ready_at, q.failures = row.failures, q.owner = null, q.until = 0;

// name: first_of_line
// The first message of an ordering key before a group.
UNWIND $lines AS line
CALL (line) {
  MATCH (q:SpaceQueued) USING INDEX SEEK q:SpaceQueued(line) WHERE q.line STARTS WITH line
  RETURN q ORDER BY q.line LIMIT 1
}
RETURN line, q{.*};

// name: open
// Let blocked messages go from an instant on.
UNWIND $rows AS row
MATCH (q:SpaceQueued {space: $space, group: row.group, message: row.message})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
SET q.later = row.later, q.blocked = false;

// name: put
// Put messages before groups, and note how many messages and bytes came to each.
UNWIND $rows AS row
CREATE (q:SpaceQueued) SET q = row
WITH row.group AS group, count(*) AS came, sum(row.size) AS size
MERGE (l:SpaceLane {space: $space, group: group})
SET l.name = 'lane', l.pending = coalesce(l.pending, 0) + came, l.bytes = coalesce(l.bytes, 0) + size;

// name: lanes
// How much waits for groups, and when the next message is due that is not ready.
UNWIND $groups AS group
OPTIONAL MATCH (l:SpaceLane {space: $space, group: group})
RETURN group, coalesce(l.pending, 0), coalesce(l.bytes, 0);

// name: next_later
// When the next message is due that is not ready.
MATCH (q:SpaceQueued) USING INDEX SEEK q:SpaceQueued(later) WHERE q.later > $now AND q.later STARTS WITH $lane
RETURN q.later ORDER BY q.later LIMIT 1;

// name: take
// Make ready what of a group is due, and hand out what is next, one to each slot; each with what the message says.
CALL () {
  MATCH (q:SpaceQueued) USING INDEX SEEK q:SpaceQueued(later) WHERE q.later >= $lane AND q.later <= $now
  WITH q ORDER BY q.later LIMIT $promoted
  SET q.later = null, q.ready = q.rank
  RETURN count(*) AS due
}
CALL () {
  MATCH (q:SpaceQueued) USING INDEX SEEK q:SpaceQueued(ready) WHERE q.ready STARTS WITH $lane
  WITH q ORDER BY q.ready LIMIT $most
  RETURN collect(q) AS next
}
UNWIND range(0, size(next) - 1) AS place
WITH next[place] AS q, $slots[place] AS slot, place
SET q.ready = null, q.later = slot.later, q.owner = slot.owner, q.until = slot.until, q.fence = q.fence + 1,
  q.taken = q.taken + 1
WITH q, place
OPTIONAL MATCH (n:Node {space: q.space, id: q.message})
RETURN place, q.message, q.fence, q.failures, q.taken, n.id IS NOT NULL, {node:n} ORDER BY place;

// name: extend
// Let a message be its owner's until later.
MATCH (q:SpaceQueued {space: $space, group: $group, message: $message})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
SET q.later = $later, q.until = $until;

// name: hand_back
// Let messages be nobody's.
UNWIND $places AS one
MATCH (q:SpaceQueued {space: $space, group: one[0], message: one[1]})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
SET q.later = null, q.ready = q.rank, q.owner = null, q.until = 0, q.taken = q.taken - 1;

// name: list
// What waits for a group, by its place.
MATCH (q:SpaceQueued) USING INDEX SEEK q:SpaceQueued(place) WHERE q.place > $after AND q.place STARTS WITH $lane
RETURN q{.*} ORDER BY q.place LIMIT $most;

// name: restate
// Let a row be what the ledger says, whoever has it.
MATCH (q:SpaceQueued {space: $space, group: $row.group, message: $row.message})
  USING INDEX SEEK q:SpaceQueued(space, message, group)
SET q += $row;

// name: strays
// Rows of messages that are no node.
MATCH (q:SpaceQueued) WHERE q.space = $space AND NOT EXISTS { MATCH (:Node {space: $space, id: q.message}) }
RETURN q.group, q.message LIMIT $most;

// name: counted
// What waits for each group, counted, beside what is noted.
MATCH (q:SpaceQueued) WHERE q.space = $space
WITH q.group AS grp, count(*) AS pending, sum(q.size) AS bytes
OPTIONAL MATCH (l:SpaceLane {space: $space, group: grp})
RETURN grp, pending, bytes, coalesce(l.pending, 0) AS noted, coalesce(l.bytes, 0) AS noted_bytes
UNION
MATCH (l:SpaceLane) WHERE l.space = $space AND NOT EXISTS { MATCH (:SpaceQueued {space: $space, group: l.group}) }
  AND (l.pending <> 0 OR l.bytes <> 0)
RETURN l.group AS grp, 0 AS pending, 0 AS bytes, l.pending AS noted, l.bytes AS noted_bytes;

// name: count_exactly
// Note what waits for a group.
MERGE (l:SpaceLane {space: $space, group: $group}) SET l.name = 'lane', l.pending = $pending, l.bytes = $bytes;
