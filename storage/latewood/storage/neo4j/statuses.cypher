// name: restate
// Note of nodes which status they have from now on: the one text that holds for good, empty where that is not plain,
// nothing where there is none. Steps and attempts are many, and nobody lists them so.
UNWIND $ids AS id
MATCH (n:Node {space: $space, id: id}) WHERE NOT n.kind IN ['step', 'attempt']
CALL (n) {
  MATCH (n)-[h:HAS_FACT]->(f:Fact)
  WHERE h.predicate = 'status' AND h.retired_at IS NULL
    AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > {at:$now})
  RETURN collect(CASE
    WHEN h.valid_to IS NULL AND h.valid_from <= {at:$now} AND f.said IS NULL AND size(f.value) <= $most THEN f.value
    ELSE '' END) AS found
}
SET n.status = CASE size(found) WHEN 0 THEN null WHEN 1 THEN found[0] ELSE '' END, n.stated_at = {at:$now};

// name: erased_statuses
// The nodes whose status lost its words.
UNWIND $places AS place
MATCH (f:Fact {space: $space, place: place}) WHERE f.predicate = 'status' RETURN DISTINCT f.subject;

// name: list_by_status
// Nodes of a kind with one of some statuses, in the order they were recorded or the other way round: those that are noted
// with it, and those whose note a unit beyond the heads may have changed. {beyond}, {conditions} and {order} are the
// reader's, words of callers are only bound.
CALL () {
  UNWIND $statuses AS status
  CALL (status) {
    MATCH (n:Node) USING INDEX SEEK n:Node(space, kind, status, born)
    WHERE n.space = $space AND n.kind = $kind AND n.status = status AND n.born {beyond} $after
      AND n.recorded_at <= $r AND {conditions}
    // The order of the index, so that it is walked no farther than the list goes.
    RETURN n ORDER BY n.space {order}, n.kind {order}, n.status {order}, n.born {order} LIMIT $first
  }
  RETURN n
  UNION
  MATCH (n:Node) USING INDEX SEEK n:Node(space, stated_at)
  WHERE n.space = $space AND n.stated_at > $r AND n.born {beyond} $after AND n.recorded_at <= $r AND {conditions}
  RETURN n
}
RETURN {node:n}, n.born ORDER BY n.born {order} LIMIT $first;

// name: unlisted
// Ledgers with rows that the statuses of nodes do not know of: an older Latewood wrote them.
MATCH (l:Ledger) WHERE l.space > 0 AND l.ledger IS NOT NULL AND coalesce(l.listed, 0) <> l.seq
RETURN l.space, l.ledger;

// name: unlisted_rows
// How far the statuses of a ledger reach, and the next rows, each with the node of whose status it says something.
MATCH (l:Ledger {space: $space, ledger: $ledger})
WITH l, coalesce(l.listed, 0) AS listed
CALL (listed) {
  MATCH (e:Event {space: $space, ledger: $ledger}) WHERE e.seq > listed
  WITH e ORDER BY e.seq LIMIT $most
  OPTIONAL MATCH (f:Fact {space: $space, id: coalesce(e.target, e.id)}) WHERE f.predicate = 'status'
  RETURN max(e.seq) AS last, collect(DISTINCT f.subject) AS subjects
}
RETURN coalesce(last, l.seq), subjects, l.seq;

// name: last_recorded
// The later of the heads of a space.
MATCH (l:Ledger {space: $space}) WHERE l.ledger IS NOT NULL RETURN max(l.recorded_at);

// name: set_listed
// Note how far the statuses of a ledger reach.
MATCH (l:Ledger {space: $space, ledger: $ledger}) SET l.listed = $seq;
