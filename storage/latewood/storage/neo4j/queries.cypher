// name: space
// A space of the tenant by name, with the heads of its ledgers.
MATCH (s:Space {tenant: $tenant, name: $name})
CALL (s) { MATCH (l:Ledger {space: s.space}) WHERE l.ledger IS NOT NULL RETURN collect([l.ledger, l.seq, l.recorded_at, l.hash, l.writer, coalesce(l.listed, 0)]) AS heads }
RETURN s.space, s.id, s.name, s.secret, s.strict, s.state, s.filling, heads;

// name: spaces
// The tenant's spaces with the number of their nodes and the heads of their ledgers.
MATCH (s:Space {tenant: $tenant})
CALL (s) { MATCH (l:Ledger {space: s.space}) WHERE l.ledger IS NOT NULL RETURN collect([l.ledger, l.seq]) AS heads }
CALL (s) { MATCH (n:Node) WHERE n.space = s.space AND n.born > '' RETURN count(n) AS nodes }
RETURN s.space, s.id, s.name, s.secret, s.strict, s.state, s.filling, nodes, heads ORDER BY s.name;

// name: next_space
// Take the number of a new space; the counter is the lock.
MERGE (c:Latewood {name: 'Latewood'})
SET c.spaces = coalesce(c.spaces, 0) + 1
RETURN c.spaces;

// name: create_space
// Keep a new space with its two ledgers.
CREATE (s:Space) SET s = $space
WITH s UNWIND $ledgers AS name
CREATE (l:Ledger {space: s.space, ledger: name, name: name, seq: 0, hash: $genesis, recorded_at: $never});

// name: set_state
// Change a space's state.
MATCH (s:Space {space: $space}) SET s.state = $state, s.filling = $filling;

// name: lock_heads
// Lock ledgers in the order given (sorted by the caller) and read their heads and spaces under the lock.
UNWIND $heads AS one
MATCH (s:Space {tenant: $tenant, name: one[0]})
MATCH (l:Ledger {space: s.space, ledger: one[1]})
SET l.lock = $lock
WITH s, l
RETURN {head:l};

// name: lock_first
// Lock the first ledger of a space, which every writer of either locks first, and read both heads under the lock.
MATCH (l:Ledger {space: $space, ledger: $first}) SET l.lock = $lock
WITH l MATCH (o:Ledger {space: $space}) WHERE o.ledger IS NOT NULL
RETURN o.ledger, o.seq, o.recorded_at, o.hash, o.writer;

// name: look_up
// Everything that planning a group needs, under the locks of its ledgers and leases, which come first and in the order
// given (sorted by the caller): replays by idempotency key, nodes by key and by id, assertions by id.
CALL () {
  UNWIND $heads AS one
  MATCH (s:Space {tenant: $tenant, name: one[0]})
  MATCH (l:Ledger {space: s.space, ledger: one[1]})
  SET l.lock = $lock
  WITH s, l
  RETURN collect([{head:l}]) AS heads
}
CALL () {
  UNWIND $guards AS one MATCH (l:Lease {space: one[0], name: one[1]})
  SET l.lock = $lock
  WITH l
  RETURN collect([l.space, l.name, l.owner, l.fence, l.until]) AS leases
}
CALL () {
  UNWIND $ops AS one MATCH (r:Receipt {space: one[0], op: one[1]})
  RETURN collect([r.space, r.op, r.body, r.receipt]) AS replays
}
CALL () {
  UNWIND $units AS one MATCH (r:Receipt {space: one[0], id: one[1]})
  RETURN collect([r.space, r.id, r.body, r.receipt]) AS kept
}
CALL () {
  UNWIND $keys AS one MATCH (n:Node {space: one[0], norm: one[1]})
  RETURN collect([n.space, {node:n}]) AS by_key
}
CALL () {
  UNWIND $ids AS one MATCH (n:Node {space: one[0], id: one[1]})
  RETURN collect([n.space, {node:n}]) AS by_id
}
CALL () {
  UNWIND $ids AS one MATCH (f:Fact {space: one[0], id: one[1]})
  RETURN collect([f.space, f.id, f.subject, f.predicate, f.key_id, f.tier, f.absent, {us:f.valid_from},
    {us:f.retracted_at}, f.place, f.object, {us:f.valid_to}, f.trust, f.known, f.payload,
    [(f)-[:SAID_BY]->(s) | s.attributes][0]]) AS facts
}
RETURN heads, leases, replays, kept, by_key, by_id, facts;

// name: key_states
// What the writer must know of keys.
UNWIND $keys AS one MATCH (k:Key {space: one[0], id: one[1]})
RETURN k.space, k.id, k.subject, k.predicate, k.origin, k.contested, k.top, k.tail, k.tail_facts;

// name: key_claims
// The claims of keys that count, and the number of the key's facts; at most $most a key.
UNWIND $keys AS one
CALL (one) {
  MATCH (f:Fact {space: one[0], key_id: one[1]}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
  WHERE f.valid_from IS NOT NULL AND f.retracted_at IS NULL
  WITH f ORDER BY f.valid_from DESC LIMIT $most
  RETURN collect({claim:f}) AS claims
}
RETURN one[0], one[1], claims;

// name: key_rows
// The live stretches of keys, of values and of relations.
UNWIND $keys AS one
CALL (one) {
  MATCH (f:Fact {space: one[0], key_id: one[1]})<-[h:HAS_FACT]-() USING INDEX SEEK f:Fact(space, key_id, valid_from)
  WHERE f.valid_from IS NOT NULL AND h.retired_at IS NULL AND f.object IS NULL
  RETURN f, h
  UNION ALL
  MATCH (f:Fact {space: one[0], key_id: one[1]}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
  WHERE f.valid_from IS NOT NULL AND f.object IS NOT NULL
  MATCH (s:Node {space: one[0], id: f.subject})
  MATCH (o:Node|Fact {space: one[0], id: f.object})
  WITH f, s, o MATCH (s)-[h]->(o) WHERE h.fact_id = f.id AND h.retired_at IS NULL
  RETURN f, h
}
RETURN one[0], one[1], f.place, {us:h.valid_from}, {us:h.valid_to}, {us:h.recorded_at}, {us:h.closed_at}, f.id, f.object;

// name: covering
// Claims of one key that cover an instant, latest start first; read in parts until the reader has seen enough.
MATCH (f:Fact {space: $space, key_id: $key}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
WHERE f.valid_from <= $at AND (f.valid_to IS NULL OR f.valid_to > $at) AND f.retracted_at IS NULL
RETURN {claim:f} ORDER BY f.valid_from DESC, f.place DESC SKIP $skip LIMIT $part;

// name: starting
// Claims of one key, of a class or a higher one, that start inside a stretch, earliest first; in parts too.
MATCH (f:Fact {space: $space, key_id: $key}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
WHERE f.valid_from > $start AND ($end IS NULL OR f.valid_from < $end) AND f.retracted_at IS NULL
  AND 2 * f.tier + CASE WHEN f.known THEN 1 ELSE 0 END >= $least
RETURN {claim:f} ORDER BY f.valid_from, f.place SKIP $skip LIMIT $part;

// name: live_values
// Live stretches of one key of values that overlap a window.
MATCH (f:Fact {space: $space, key_id: $key})<-[h:HAS_FACT]-() USING INDEX SEEK f:Fact(space, key_id, valid_from)
WHERE f.valid_from IS NOT NULL AND h.retired_at IS NULL AND (h.valid_to IS NULL OR h.valid_to > $start) AND ($end IS NULL OR h.valid_from < $end)
RETURN f.place, {us:h.valid_from}, {us:h.valid_to}, {us:h.recorded_at}, {us:h.closed_at}, f.id, f.object;

// name: live_relations
// Live stretches of one key of relations that overlap a window.
MATCH (f:Fact {space: $space, key_id: $key}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
WHERE f.valid_from IS NOT NULL
MATCH (s:Node {space: $space, id: f.subject})
MATCH (o:Node|Fact {space: $space, id: f.object})
WITH f, s, o MATCH (s)-[h]->(o)
WHERE h.fact_id = f.id AND h.retired_at IS NULL
  AND (h.valid_to IS NULL OR h.valid_to > $start) AND ($end IS NULL OR h.valid_from < $end)
RETURN f.place, {us:h.valid_from}, {us:h.valid_to}, {us:h.recorded_at}, {us:h.closed_at}, f.id, f.object;

// name: claim_of_fact
// The claim of an assertion, for taking it back.
MATCH (f:Fact {space: $space, id: $id}) RETURN {claim:f};

// name: keep
// Write a group: ledger rows, nodes, facts with their source, stretches, keys, receipts, and last the heads.
CALL () { UNWIND $events AS row CREATE (e:Event) SET e = row }
CALL () {
  UNWIND $nodes AS row
  MERGE (n:Node {space: row.space, id: row.id})
  ON CREATE SET n:$(row.labels), n.born = row.born, n.recorded_at = {at:row.recorded_at}, n.version = 0
  SET n += row.properties
}
CALL () {
  UNWIND $links AS row
  MATCH (a:Node {space: row.space, id: row.from}) MATCH (b:Node {space: row.space, id: row.to})
  CREATE (a)-[:$(row.type)]->(b)
}
CALL () {
  UNWIND $facts AS row
  CREATE (f:Fact) SET f = row.properties, f:$(row.labels), f.valid_from = {at:row.valid_from},
    f.valid_to = {at:row.valid_to}, f.recorded_at = {at:row.recorded_at}
  WITH f, row MATCH (s:Node {space: row.properties.space, id: row.properties.source})
  CREATE (f)-[:SAID_BY]->(s)
}
CALL () {
  UNWIND $alternatives AS row
  MATCH (f:Fact {space: row.space, id: row.fact}) USING INDEX SEEK f:Fact(space, id)
  CREATE (f)-[:CONSIDERED]->(a:Alternative) SET a = row.properties
}
CALL () {
  UNWIND $references AS row
  MATCH (a:Fact {space: row.space, id: row.from}) USING INDEX SEEK a:Fact(space, id)
  MATCH (b:Fact {space: row.space, id: row.to}) USING INDEX SEEK b:Fact(space, id)
  CREATE (a)-[:$(row.type)]->(b)
}
CALL () {
  UNWIND $values AS row
  MATCH (s:Node {space: row.space, id: row.subject}) USING INDEX SEEK s:Node(space, id)
  MATCH (f:Fact {space: row.space, id: row.stamps.fact_id}) USING INDEX SEEK f:Fact(space, id)
  CREATE (s)-[h:HAS_FACT]->(f)
  SET h = row.stamps, h.valid_from = {at:row.valid_from}, h.valid_to = {at:row.valid_to},
    h.recorded_at = {at:row.recorded_at}, h.closed_at = {at:row.closed_at}
}
CALL () {
  UNWIND $relations AS row
  MATCH (s:Node {space: row.space, id: row.subject}) MATCH (o:Node|Fact {space: row.space, id: row.object})
  CREATE (s)-[h:$(row.type)]->(o)
  SET h = row.stamps, h.valid_from = {at:row.valid_from}, h.valid_to = {at:row.valid_to},
    h.recorded_at = {at:row.recorded_at}, h.closed_at = {at:row.closed_at}
}
CALL () {
  UNWIND $value_stamps AS row
  MATCH (f:Fact {space: row.space, id: row.fact_id})<-[h:HAS_FACT]-() USING INDEX SEEK f:Fact(space, id)
  WHERE h.valid_from = {at:row.valid_from} AND h.recorded_at = {at:row.recorded_at}
  SET h.valid_to = coalesce({at:row.valid_to}, h.valid_to), h.closed_at = coalesce({at:row.closed_at}, h.closed_at),
    h.retired_at = {at:row.retired_at}
}
CALL () {
  UNWIND $relation_stamps AS row
  MATCH (s:Node {space: row.space, id: row.subject}) MATCH (o:Node|Fact {space: row.space, id: row.object})
  WITH row, s, o MATCH (s)-[h]->(o)
  WHERE h.fact_id = row.fact_id AND h.valid_from = {at:row.valid_from} AND h.recorded_at = {at:row.recorded_at}
  SET h.valid_to = coalesce({at:row.valid_to}, h.valid_to), h.closed_at = coalesce({at:row.closed_at}, h.closed_at),
    h.retired_at = {at:row.retired_at}
}
CALL () {
  UNWIND $retractions AS row
  MATCH (f:Fact {space: row.space, id: row.fact}) USING INDEX SEEK f:Fact(space, id)
  SET f += row.stamps, f.retracted_at = {at:row.retracted_at}
}
CALL () {
  UNWIND $vectors AS row CREATE (v:SpaceVector) SET v = row.properties, v:$(row.label)
}
CALL () {
  UNWIND $keys AS row MERGE (k:Key {space: row.space, id: row.id}) SET k += row.properties
}
CALL () {
  UNWIND $versions AS row MATCH (n:Node {space: row.space, id: row.id}) SET n.version = row.version, n.touched = row.touched
}
CALL () {
  UNWIND $statuses AS row MATCH (n:Node {space: row.space, id: row.id}) WHERE NOT n.kind IN ['step', 'attempt']
  SET n.status = row.status, n.stated_at = {at:row.at}
}
CALL () { UNWIND $receipts AS row CREATE (r:Receipt) SET r = row }
CALL () {
  UNWIND $states AS row MATCH (s:Space {space: row.space}) SET s.state = row.state, s.filling = row.filling
}
CALL () {
  UNWIND $heads AS row MATCH (l:Ledger {space: row.space, ledger: row.ledger})
  SET l.listed = CASE WHEN coalesce(l.listed, 0) = l.seq THEN row.seq ELSE l.listed END, l.seq = row.seq,
    l.hash = row.hash, l.recorded_at = row.recorded_at, l.writer = row.writer
}
RETURN 1;

// name: nodes_by_id
// Nodes by their ids.
UNWIND $ids AS id MATCH (n:Node {space: $space, id: id}) RETURN {node:n};

// name: versions_said
// Of nodes and versions, those whose version is a row about them that the heads know of.
UNWIND $asked AS one
UNWIND [['knowledge', $heads[0]], ['execution', $heads[1]]] AS head
WITH one, head WHERE one[1] <= head[1]
MATCH (e:Event {space: $space, ledger: head[0], seq: one[1]}) WHERE e.subject = one[0]
RETURN DISTINCT e.subject;

// name: nodes_before
// What nodes were at heads: the place of the last row about each, and what it was merged into.
UNWIND $ids AS id
MATCH (n:Node {space: $space, id: id})
CALL (n) {
  MATCH (f:Fact {space: $space, subject: n.id}) USING INDEX SEEK f:Fact(space, subject, valid_from)
    WHERE f.valid_from IS NOT NULL
  UNWIND [[f.place, f.recorded_at], [f.retraction, f.retracted_at]] AS one
  WITH one WHERE one[0] / 2 <= $heads[one[0] % 2]
  WITH one ORDER BY one[1] DESC, one[0] DESC LIMIT 1
  RETURN collect(one[0]) AS places
}
CALL (n) {
  MATCH (f:Fact {space: $space, subject: n.id}) USING INDEX SEEK f:Fact(space, subject, valid_from)
  WHERE f.valid_from IS NOT NULL AND f.predicate = 'merged_into' AND f.place / 2 <= $heads[f.place % 2]
    AND (f.retraction IS NULL OR f.retraction / 2 > $heads[f.retraction % 2])
  WITH f ORDER BY f.place DESC LIMIT 1
  RETURN collect(f.object) AS merged
}
RETURN n.id, coalesce(places[0], toInteger(split(n.born, '.')[1])), merged[0];

// name: nodes_by_key
// Nodes by their normal keys.
UNWIND $keys AS key MATCH (n:Node {space: $space, norm: key}) RETURN {node:n};

// name: holding_of_subjects
// The facts that hold of nodes at (t, r), and whether their key is contested; predicates may be null for all.
UNWIND $ids AS id
MATCH (n:Node {space: $space, id: id})-[h]->() USING INDEX SEEK n:Node(space, id)
WHERE h.fact_id IS NOT NULL AND {visible:h} AND ($predicates IS NULL OR h.predicate IN $predicates)
WITH DISTINCT h.fact_id AS fact LIMIT $most
MATCH (f:Fact {space: $space, id: fact})
MATCH (k:Key {space: $space, id: f.key_id})
RETURN {fact:f}, k.contested;

// name: holding_of_objects
// The facts that point at nodes or facts and hold at (t, r); predicates may be null for all.
UNWIND $ids AS id
MATCH (o:Node|Fact {space: $space, id: id})<-[h]-()
WHERE h.fact_id IS NOT NULL AND type(h) <> 'HAS_FACT' AND {visible:h}
  AND ($predicates IS NULL OR h.predicate IN $predicates)
WITH DISTINCT h.fact_id AS fact LIMIT $most
MATCH (f:Fact {space: $space, id: fact})
MATCH (k:Key {space: $space, id: f.key_id})
RETURN {fact:f}, k.contested;

// name: standing_of_subjects
// Every assertion about nodes that was made and not taken back; predicates may be null for all.
UNWIND $ids AS id
MATCH (f:Fact {space: $space, subject: id}) USING INDEX SEEK f:Fact(space, subject, valid_from)
WHERE f.valid_from IS NOT NULL AND f.recorded_at <= $r
  AND (f.retracted_at IS NULL OR f.retracted_at > $r) AND ($predicates IS NULL OR f.predicate IN $predicates)
RETURN {fact:f}, false LIMIT $most;

// name: standing_of_objects
// The same of those that point at nodes or facts.
MATCH (f:Fact) USING INDEX SEEK f:Fact(space, object)
WHERE f.space = $space AND f.object IN $ids AND f.recorded_at <= $r
  AND (f.retracted_at IS NULL OR f.retracted_at > $r) AND ($predicates IS NULL OR f.predicate IN $predicates)
RETURN {fact:f}, false LIMIT $most;

// name: facts_by_id
// Assertions by id, retracted ones too.
UNWIND $ids AS id MATCH (f:Fact {space: $space, id: id}) WHERE f.recorded_at <= $r RETURN {fact:f};

// name: holders
// The claim that holds for the key of a fact at an instant, an absence too: the greatest rank, by the definition.
UNWIND $points AS one
MATCH (p:Fact {space: $space, id: one.fact})
CALL (p, one) {
  MATCH (f:Fact {space: $space, key_id: p.key_id}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
  WHERE f.valid_from <= one.t AND (f.valid_to IS NULL OR f.valid_to > one.t) AND f.recorded_at <= one.r
    AND (f.retracted_at IS NULL OR f.retracted_at > one.r)
  RETURN f ORDER BY f.tier DESC, f.known DESC, f.valid_from DESC, f.trust DESC, f.recorded_at DESC, f.ordinal DESC
  LIMIT 1
}
RETURN one.n, {fact:f};

// name: challengers
// Claims of a fact's key that cover an instant and start no earlier than the fact itself, which is among them.
UNWIND $facts AS one
MATCH (p:Fact {space: $space, id: one})
CALL (p) {
  MATCH (f:Fact {space: $space, key_id: p.key_id}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
  WHERE f.valid_from <= $t AND f.valid_from >= p.valid_from AND (f.valid_to IS NULL OR f.valid_to > $t)
    AND f.recorded_at <= $r AND (f.retracted_at IS NULL OR f.retracted_at > $r)
  RETURN f ORDER BY f.id <> p.id LIMIT 10000
}
RETURN one, {claim:f}, f.payload;

// name: timeline
// Assertions about nodes in valid order, after a cursor.
UNWIND $subjects AS subject
MATCH (f:Fact {space: $space, subject: subject}) USING INDEX SEEK f:Fact(space, subject, valid_from)
WHERE f.valid_from >= $start AND f.recorded_at <= $r AND ($predicates IS NULL OR f.predicate IN $predicates)
WITH f, {us:f.valid_from} AS valid_from, {us:f.recorded_at} AS recorded_at
WHERE valid_from > $after[0] OR (valid_from = $after[0] AND (recorded_at > $after[1] OR (recorded_at = $after[1]
  AND (f.ordinal > $after[2] OR (f.ordinal = $after[2] AND f.place > $after[3])))))
WITH f, valid_from, recorded_at ORDER BY valid_from, recorded_at, f.ordinal, f.place LIMIT $first
RETURN {fact:f} ORDER BY valid_from, recorded_at, f.ordinal, f.place;

// name: seq_recorded
// The recorded time of a ledger row.
MATCH (e:Event {space: $space, ledger: $ledger, seq: $seq}) RETURN e.recorded_at;

// name: changes
// What was asserted, ended and retracted in a stretch of the knowledge ledger.
MATCH (e:Event {space: $space, ledger: 'knowledge'})
WHERE e.seq > $after AND e.seq <= $last AND e.kind IN ['asserted', 'absent', 'retracted']
RETURN e.seq, e.kind, e.recorded_at, e.id, e.target, e.payload ORDER BY e.seq LIMIT $first;

// name: changes_of
// The same for some nodes.
UNWIND $subjects AS subject
MATCH (f:Fact {space: $space, subject: subject}) USING INDEX SEEK f:Fact(space, subject, valid_from)
WHERE f.valid_from IS NOT NULL
UNWIND [f.place, f.retraction] AS place
WITH DISTINCT place WHERE place IS NOT NULL AND place % 2 = 0 AND place > 2 * $after AND place <= 2 * $last
MATCH (e:Event {space: $space, ledger: 'knowledge', seq: place / 2})
RETURN e.seq, e.kind, e.recorded_at, e.id, e.target, e.payload ORDER BY e.seq LIMIT $first;

// name: beginnings
// Assertions not retracted whose period starts in a stretch of valid time.
MATCH (f:Fact) USING INDEX SEEK f:Fact(space, valid_from)
WHERE f.space = $space AND f.valid_from > $since AND f.valid_from <= $until AND f.retracted_at IS NULL
  AND f.place % 2 = 0
WITH f, {us:f.valid_from} AS valid_from, f.place / 2 AS seq
WHERE valid_from > $after[0] OR (valid_from = $after[0] AND seq > $after[1])
WITH f, valid_from, seq ORDER BY valid_from, seq LIMIT $first
MATCH (e:Event {space: $space, ledger: 'knowledge', seq: seq})
RETURN e.seq, e.kind, e.recorded_at, e.id, e.target, e.payload, valid_from ORDER BY valid_from, seq;

// name: beginnings_of
// The same for some nodes.
UNWIND $subjects AS subject
MATCH (f:Fact {space: $space, subject: subject}) USING INDEX SEEK f:Fact(space, subject, valid_from)
WHERE f.valid_from > $since AND f.valid_from <= $until AND f.retracted_at IS NULL AND f.place % 2 = 0
WITH f, {us:f.valid_from} AS valid_from, f.place / 2 AS seq
WHERE valid_from > $after[0] OR (valid_from = $after[0] AND seq > $after[1])
WITH f, valid_from, seq ORDER BY valid_from, seq LIMIT $first
MATCH (e:Event {space: $space, ledger: 'knowledge', seq: seq})
RETURN e.seq, e.kind, e.recorded_at, e.id, e.target, e.payload, valid_from ORDER BY valid_from, seq;

// name: feed
// Ledger rows after a seq.
MATCH (e:Event {space: $space, ledger: $ledger}) WHERE e.seq > $after AND e.seq <= $last
RETURN e.seq, e.unit, e.ordinal, e.recorded_at, e.written_at, e.kind, e.id, e.subject, e.key, e.target, e.tier, e.trust,
  e.known, e.valid_from, e.valid_to, e.op, e.body, e.digest, e.hash, e.salt, e.payload
ORDER BY e.seq LIMIT $first;

// name: list_nodes
// Nodes in the order they were recorded, or the other way round; {source}, {beyond}, {conditions} and {order} are the
// reader's, words of callers are only bound.
{source} WHERE n.space = $space AND n.born {beyond} $after AND n.recorded_at <= $r AND {conditions}
// In the order of the index, the space too: by `born` alone all that comes after would be sorted.
RETURN {node:n}, n.born ORDER BY n.space {order}, n.born {order} LIMIT $first;

// name: near_keys
// Keys that begin like a key, then the latest keys.
CALL () {
  MATCH (n:Node) USING INDEX SEEK n:Node(space, norm) WHERE n.space = $space AND n.norm STARTS WITH $prefix
  RETURN n.key AS key ORDER BY n.space, n.norm LIMIT $first
  UNION ALL
  MATCH (n:Node) USING INDEX SEEK n:Node(space, born)
  WHERE n.space = $space AND n.born > '' AND n.norm IS NOT NULL AND n.kind IN ['entity', 'decision', 'actor', 'session']
  RETURN n.key AS key ORDER BY n.space DESC, n.born DESC LIMIT 5000
}
RETURN key;

// name: search
// Nodes by their words, or by those of a fact that holds at (t, r), best first.
CALL db.index.fulltext.queryNodes($index, $words, {limit: $scan}) YIELD node, score
CALL (node) {
  MATCH (node:Node) WHERE node.recorded_at <= $r RETURN node AS n, null AS fact
  UNION ALL
  MATCH (node:Fact)<-[h:HAS_FACT]-(s) WHERE {visible:h}
  RETURN s AS n, node.id AS fact LIMIT 1
}
WITH n, fact, score WHERE n.kind <> 'predicate' AND n.kind <> 'source' AND ($kinds IS NULL OR n.kind IN $kinds)
WITH n, collect(coalesce(fact, '')) AS hits, max(score) AS best
RETURN {node:n}, CASE WHEN hits[0] = '' THEN null ELSE hits[0] END, best ORDER BY best DESC LIMIT $first;

// name: receipt
// A kept write by its receipt id.
MATCH (s:Space {tenant: $tenant}) MATCH (r:Receipt {space: s.space, id: $id}) RETURN r.receipt;

// name: refusal
// A refused write by its receipt id.
MATCH (r:Refusal {tenant: $tenant, id: $id}) RETURN r.space, r.code, r.message, r.at;

// name: refuse
// Keep a refusal in the next slot of the tenant's ring: the oldest makes room.
OPTIONAL MATCH (kept:Refusal {tenant: $tenant, id: $refusal.id})
WITH kept WHERE kept IS NULL
MERGE (c:Refusals {tenant: $tenant}) SET c.count = coalesce(c.count, 0) + 1, c.name = 'refusals'
WITH c.count % $most AS slot
MERGE (r:Refusal {tenant: $tenant, slot: slot}) SET r = $refusal, r.tenant = $tenant, r.slot = slot;

// name: lease
// Lock a lease, making it when there is none, and read it under the lock.
MERGE (l:Lease {space: $space, name: $name}) SET l.lock = $lock
WITH l RETURN l.owner, l.fence, l.until;

// name: set_lease
// Change a lease.
MATCH (l:Lease {space: $space, name: $name}) SET l += $lease;

// name: schema_version
// The schema that the database was last brought to.
OPTIONAL MATCH (c:Latewood {name: 'Latewood'}) RETURN c.schema;

// name: set_schema
// Note the schema.
MERGE (c:Latewood {name: 'Latewood'}) SET c.schema = $schema, c.written_by = $version;

// name: receipts_of_units
// The receipts of units.
UNWIND $ids AS id MATCH (r:Receipt {space: $space, id: id}) RETURN r.id, r.receipt;

// name: hashes
// The hashes of a stretch of ledger rows.
MATCH (e:Event {space: $space, ledger: $ledger}) WHERE e.seq >= $first AND e.seq <= $last
RETURN e.seq, e.hash ORDER BY e.seq;

// name: adopt
// Let an empty space become the one of an import.
MATCH (s:Space {space: $space})
SET s.id = $id, s.secret = $secret, s.strict = $strict, s.state = $state, s.filling = $filling;

// name: erase_target
// What may be erased: a node with the places of every row about it, or a fact with its own and those of its end and
// retraction.
CALL () {
  MATCH (n:Node {space: $space, id: $id})
  OPTIONAL MATCH (f:Fact {space: $space, subject: $id}) USING INDEX SEEK f:Fact(space, subject, valid_from)
    WHERE f.valid_from IS NOT NULL
  WITH n, collect(f.place) + collect(f.retraction) AS places
  RETURN n.id AS subject, n.kind AS kind, n.norm AS norm, places + [toInteger(split(n.born, '.')[1])] AS places
  UNION ALL
  MATCH (f:Fact {space: $space, id: $id})
  OPTIONAL MATCH (f)<-[:ENDS]-(a:Fact)
  WITH f, collect(a.place) AS ends
  RETURN f.subject AS subject, null AS kind, null AS norm, ends + [f.place, f.retraction] AS places
}
RETURN subject, kind, norm, places;

// name: absorbed_by
// The nodes that were merged into others: those whose fact says so, for the caller to tell by their attributes.
MATCH (n:Node)-[h]->(o:Node) USING INDEX SEEK o:Node(space, id)
WHERE n.space = $space AND o.space = $space AND o.id IN $ids
  AND h.predicate = 'merged_into' AND h.retired_at IS NULL
RETURN DISTINCT n.id, n.kind, n.attributes;

// name: declared_again
// Rows that declare a node again; they follow the fact of its merge, or that fact's retraction.
MATCH (f:Fact {space: $space, subject: $id}) USING INDEX SEEK f:Fact(space, subject, valid_from)
WHERE f.valid_from IS NOT NULL AND f.predicate = 'merged_into'
UNWIND [f.place, f.retraction] AS place
WITH DISTINCT place WHERE place IS NOT NULL AND place % 2 = $odd
MATCH (e:Event {space: $space, ledger: $ledger, seq: place / 2 + 1}) WHERE e.kind = 'declared' AND e.id = $id
RETURN e.seq;

// name: erase_rows
// Rows of a ledger that still have their payload, with the predicate of their key.
UNWIND $seqs AS seq
MATCH (e:Event {space: $space, ledger: $ledger, seq: seq}) WHERE e.payload IS NOT NULL AND e.kind <> 'erased'
OPTIONAL MATCH (f:Fact {space: $space, id: coalesce(e.target, e.id)})
RETURN e.seq, e.key, CASE WHEN e.key IS NULL THEN null ELSE f.predicate END, e.payload,
  CASE WHEN e.kind = 'absent' THEN e.id ELSE null END ORDER BY e.seq;

// name: sources_unsaid
// Sources to which no fact points but those at the places.
UNWIND $ids AS id
MATCH (s:Node {space: $space, id: id})
WHERE NOT EXISTS { MATCH (s)<-[:SAID_BY]-(f:Fact) WHERE NOT f.place IN $places }
RETURN s.id;

// name: other_payloads
// Payloads of rows that are no facts, latest first.
MATCH (e:Event) WHERE e.space = $space AND e.ledger IS NOT NULL AND e.seq IS NOT NULL
  AND e.kind IN ['retracted', 'erased'] AND e.payload IS NOT NULL
RETURN e.seq, e.ledger, e.payload;

// name: sources_by
// Sources of an actor.
MATCH (a:Node {space: $space, id: $id})<-[:BY]-(s:Source) RETURN s.id, s.attributes;

// name: declared_at
// Where nodes were declared.
UNWIND $ids AS id
MATCH (n:Node {space: $space, id: id}) RETURN n.id, toInteger(split(n.born, '.')[1]);

// name: take_payloads
// Take the payload and the salt of ledger rows.
CALL () {
  UNWIND $seqs AS seq
  MATCH (e:Event {space: $space, ledger: $ledger, seq: seq}) WHERE e.payload IS NOT NULL
  SET e.payload = null, e.salt = null
  RETURN count(e) AS rows
}
RETURN rows;

// name: name_key
// Give a key, and facts, that were replayed without their words the predicate that their erasure kept.
OPTIONAL MATCH (k:Key {space: $space, id: $key}) WHERE k.predicate = ''
SET k.predicate = $predicate, k.name = $predicate
WITH count(*) AS done
MATCH (f:Fact {space: $space, key_id: $key}) USING INDEX SEEK f:Fact(space, key_id, valid_from)
WHERE f.valid_from IS NOT NULL AND f.predicate = ''
SET f.predicate = $predicate
WITH f
OPTIONAL MATCH (f)<-[h:HAS_FACT]-()
SET h.predicate = $predicate;

// name: take_relations
// Forget what erased relations pointed to: their stretches lead to the facts themselves from now on.
CALL () {
  UNWIND $places AS place
  MATCH (f:Fact {space: $space, place: place}) USING INDEX SEEK f:Fact(space, place) WHERE f.object IS NOT NULL
  MATCH (k:Key {space: $space, id: f.key_id}) SET k.tail = null, k.tail_facts = null
  WITH f
  MATCH (s:Node {space: $space, id: f.subject})
  MATCH (o:Node|Fact {space: $space, id: f.object})
  WITH f, s, o
  OPTIONAL MATCH (s)-[h]->(o) WHERE h.fact_id = f.id
  FOREACH (one IN CASE WHEN h IS NULL THEN [] ELSE [h] END |
    CREATE (s)-[t:HAS_FACT]->(f) SET t = properties(one) DELETE one)
  RETURN count(DISTINCT f) AS edges
}
RETURN edges;

// name: take_facts
// Take the words of facts, and what hangs on them.
CALL () {
  UNWIND $places AS place
  MATCH (f:Fact {space: $space, place: place})
  WITH f, CASE WHEN f.text IS NULL THEN 0 ELSE 1 END AS words
  SET f.payload = null, f.value = null, f.said = null, f.text = null, f.unit = null, f.as_written = null,
    f.object = null, f.source = null, f.question = null, f.choice = null, f.rationale = null, f.consequences = null,
    f.expected_outcome = null, f.locator = null, f.quote = null, f.title = $title
  REMOVE f:$($label)
  WITH f, words
  CALL (f) { MATCH (f)-[r:SAID_BY]->() DELETE r }
  CALL (f) { MATCH (f)-[:CONSIDERED]->(a:Alternative) DETACH DELETE a }
  RETURN sum(words) AS texts
}
RETURN coalesce(texts, 0);

// name: take_reasons
// Take the reasons of retractions whose rows went.
MATCH (f:Fact) WHERE f.space = $space AND f.retraction IN $places SET f.retired_reason = null;

// name: node_words
// What of a node is to go.
MATCH (n:Node {space: $space, id: $id})
RETURN n.key, n.norm, labels(n), CASE WHEN n.text IS NULL THEN 0 ELSE 1 END;

// name: bury_node
// Leave a tombstone of a node; attributes that are null mark it.
MATCH (n:Node {space: $space, id: $id})
SET n.kind = $kind, n.type = '', n.key = null, n.norm = null, n.name = $name, n.attributes = 'null', n.text = null,
  n.title = CASE WHEN n.title IS NULL THEN null ELSE $name END
REMOVE n:$($gone)
SET n:$($kept)
WITH n CALL (n) { MATCH (n:Source)-[r:BY|ON_BEHALF_OF|IN_SESSION]->() DELETE r };

// name: receipts_naming
// Receipts in which a node's id or its key (as JSON) stands.
MATCH (r:Receipt) WHERE r.space = $space AND r.id IS NOT NULL
  AND (r.receipt CONTAINS $id OR r.receipt CONTAINS $written)
RETURN r.id, r.receipt;

// name: set_receipts
// Write receipts anew.
UNWIND $rows AS row MATCH (r:Receipt {space: $space, id: row.id}) SET r.receipt = row.receipt;

// name: empty_refusals
// Take the words of a space's refusals.
CALL () {
  MATCH (r:Refusal) WHERE r.tenant = $tenant AND r.id IS NOT NULL AND r.space = $space AND r.message <> $message
  SET r.message = $message, r.actor = ''
  RETURN count(r) AS refusals
}
RETURN refusals;
