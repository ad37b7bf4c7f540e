// name: subjects
// The subjects of a space after one, in order of their ids, with what their rows weigh: one each, and one a KB.
MATCH (e:Event) WHERE e.space = $space AND e.ledger IS NOT NULL AND e.seq IS NOT NULL AND e.subject > $after
WITH e.subject AS subject, sum(1 + size(coalesce(e.payload, '')) / 1024) AS weight
RETURN subject, weight ORDER BY subject LIMIT $most;

// name: rows_in_range
// The rows about a range of subjects.
MATCH (e:Event) WHERE e.space = $space AND e.ledger IS NOT NULL AND e.seq IS NOT NULL
  AND e.subject > $after AND e.subject <= $last
RETURN e.seq, e.ledger, e.unit, e.ordinal, e.recorded_at, e.kind, e.id, e.subject, e.key, e.target, e.tier, e.trust,
  e.known, e.valid_from, e.valid_to, e.payload, e.op, e.body;

// name: rows_of_subjects
// The rows about subjects.
MATCH (e:Event) WHERE e.space = $space AND e.ledger IS NOT NULL AND e.seq IS NOT NULL AND e.subject IN $subjects
RETURN e.seq, e.ledger, e.unit, e.ordinal, e.recorded_at, e.kind, e.id, e.subject, e.key, e.target, e.tier, e.trust,
  e.known, e.valid_from, e.valid_to, e.payload, e.op, e.body;

// name: erasures
// What a space's erasures say.
MATCH (e:Event) WHERE e.space = $space AND e.ledger IS NOT NULL AND e.seq IS NOT NULL AND e.kind = 'erased'
RETURN e.seq, e.ledger, e.unit, e.ordinal, e.recorded_at, e.kind, e.id, e.subject, e.key, e.target, e.tier, e.trust,
  e.known, e.valid_from, e.valid_to, e.payload, e.op, e.body;

// name: rows_by_seq
// Rows of a ledger from one seq to another.
MATCH (e:Event {space: $space, ledger: $ledger}) WHERE e.seq > $after AND e.seq <= $last
RETURN e.seq, e.ledger, e.unit, e.ordinal, e.recorded_at, e.kind, e.id, e.subject, e.key, e.target, e.tier, e.trust,
  e.known, e.valid_from, e.valid_to, e.payload, e.op, e.body ORDER BY e.seq;

// name: unit_end
// The last row of the unit that has a row.
MATCH (e:Event {space: $space, ledger: $ledger, seq: $seq})
MATCH (f:Event {space: $space, ledger: $ledger}) USING INDEX SEEK f:Event(space, ledger, seq)
WHERE f.seq >= $seq AND f.seq < $seq + 100000 AND f.unit = e.unit
RETURN max(f.seq);

// name: nodes
// Nodes by id, with their labels and the links of sources.
UNWIND $ids AS id MATCH (n:Node {space: $space, id: id})
RETURN n.id, properties(n), labels(n),
  [(n)-[r:BY|ON_BEHALF_OF|IN_SESSION]->(o:Node) WHERE n.kind = 'source' AND r.fact_id IS NULL | [type(r), o.id]];

// name: facts
// Facts of the subjects, with their labels and what hangs on them.
UNWIND $ids AS id MATCH (f:Fact {space: $space, id: id})
RETURN f.id, properties(f), labels(f), [(f)-[:SAID_BY]->(s:Node) | s.id],
  [(f)-[r:REPLACES|ENDS]->(t:Fact) | [type(r), t.id]], [(f)-[:CONSIDERED]->(a:Alternative) | properties(a)];

// name: keys
// Keys by id.
UNWIND $ids AS id MATCH (k:Key {space: $space, id: id}) RETURN k.id, properties(k);

// name: stretches
// Every stretch that begins at nodes.
UNWIND $ids AS id MATCH (s:Node {space: $space, id: id})-[h]->(o) WHERE h.fact_id IS NOT NULL
RETURN s.id, type(h), o.id, properties(h), elementId(h);

// name: origins
// What sources are.
UNWIND $ids AS id MATCH (n:Node {space: $space, id: id}) RETURN n.id, n.attributes;

// name: receipts
// Receipts by id.
UNWIND $ids AS id MATCH (r:Receipt {space: $space, id: id}) RETURN r.id, properties(r);

// name: heads
// Heads whose recorded time is not that of their last row.
MATCH (l:Ledger {space: $space}) WHERE l.ledger IS NOT NULL
MATCH (e:Event {space: $space, ledger: l.ledger, seq: l.seq}) WHERE e.recorded_at <> l.recorded_at
RETURN l.ledger, l.seq, e.recorded_at;

// name: put_node
// Store a node as it should be.
OPTIONAL MATCH (m:Node {space: $space, norm: $norm}) USING INDEX SEEK m:Node(space, norm)
WHERE m.id <> $id SET m.norm = null
WITH count(*) AS freed
MERGE (n:Node {space: $space, id: $id}) SET n = $properties
WITH n REMOVE n:$($gone) SET n:$($labels);

// name: put_links
// Link a source with who said it.
MATCH (n:Node {space: $space, id: $id})
CALL (n) { MATCH (n)-[r:BY|ON_BEHALF_OF|IN_SESSION]->() WHERE r.fact_id IS NULL DELETE r }
WITH n UNWIND $links AS link
MATCH (o:Node {space: $space, id: link[1]})
CREATE (n)-[:$(link[0])]->(o);

// name: put_fact
// Store a fact as it should be, with who said it and what it ends and replaces.
OPTIONAL MATCH (m:Fact {space: $space, place: $place}) USING INDEX SEEK m:Fact(space, place)
WHERE m.id <> $id SET m.place = null
WITH count(*) AS freed
MERGE (f:Fact {space: $space, id: $id}) SET f = $properties
WITH f REMOVE f:$($gone) SET f:$($labels)
WITH f
CALL (f) { MATCH (f)-[r:SAID_BY|REPLACES|ENDS]->() DELETE r }
CALL (f) { MATCH (f)-[:CONSIDERED]->(a:Alternative) DETACH DELETE a }
CALL (f) { UNWIND $said AS id MATCH (s:Node {space: $space, id: id}) CREATE (f)-[:SAID_BY]->(s) }
CALL (f) { UNWIND $references AS one MATCH (t:Fact {space: $space, id: one[1]}) CREATE (f)-[:$(one[0])]->(t) }
CALL (f) { UNWIND $alternatives AS one CREATE (f)-[:CONSIDERED]->(a:Alternative) SET a = one };

// name: put_key
// Store a key as it should be.
MERGE (k:Key {space: $space, id: $id}) SET k = $properties;

// name: put_stretch
// Store a stretch.
MATCH (s:Node {space: $space, id: $subject}) MATCH (o:Node|Fact {space: $space, id: $end})
CREATE (s)-[h:$($type)]->(o) SET h = $properties;

// name: drop_stretch
// Take a stretch.
MATCH ()-[h]->() WHERE elementId(h) = $id DELETE h;

// name: put_receipt
// Store a receipt as it should be.
OPTIONAL MATCH (m:Receipt {space: $space, op: $op}) USING INDEX SEEK m:Receipt(space, op)
WHERE m.id <> $id SET m.op = null
WITH count(*) AS freed
MERGE (r:Receipt {space: $space, id: $id}) SET r = $properties;

// name: drop
// Take what the ledger does not know.
MATCH (n) WHERE elementId(n) = $id DETACH DELETE n;

// name: set_recorded
// Give a head the recorded time of its last row.
MATCH (l:Ledger {space: $space, ledger: $ledger}) SET l.recorded_at = $recorded_at;

// name: mark_rebuilt
// Let every process forget what it remembers of the space.
MATCH (l:Ledger {space: $space}) WHERE l.ledger IS NOT NULL SET l.rebuilds = coalesce(l.rebuilds, 0) + 1;

// name: stray_node
// Nodes that no row declares.
MATCH (n:Node) WHERE n.space = $space
WITH n, CASE WHEN n.born IS NULL THEN 0 ELSE toInteger(split(n.born, '.')[1]) END AS place
OPTIONAL MATCH (e:Event {space: $space, ledger: CASE place % 2 WHEN 0 THEN 'knowledge' ELSE 'execution' END, seq: place / 2})
WITH n, e WHERE e IS NULL OR e.id <> n.id OR e.kind <> 'declared' RETURN elementId(n), n.id LIMIT $most;

// name: stray_fact
// Facts that no row asserts.
MATCH (f:Fact) WHERE f.space = $space
OPTIONAL MATCH (e:Event {space: $space, ledger: CASE f.place % 2 WHEN 0 THEN 'knowledge' ELSE 'execution' END, seq: f.place / 2})
WITH f, e WHERE e IS NULL OR e.id <> f.id OR NOT e.kind IN ['asserted', 'absent'] RETURN elementId(f), f.id LIMIT $most;

// name: stray_key
// Keys for which no fact competes.
MATCH (k:Key) WHERE k.space = $space
  AND NOT EXISTS { MATCH (f:Fact {space: $space, key_id: k.id}) WHERE f.valid_from IS NOT NULL }
RETURN elementId(k), k.id LIMIT $most;

// name: stray_receipt
// Receipts of units that no ledger has.
MATCH (r:Receipt) WHERE r.space = $space AND r.id IS NOT NULL
WITH r, toInteger(split(coalesce(r.name, ' '), ' ')[1]) AS seq
OPTIONAL MATCH (e:Event {space: $space, ledger: 'knowledge', seq: seq})
OPTIONAL MATCH (x:Event {space: $space, ledger: 'execution', seq: seq})
WITH r, e, x WHERE coalesce(e.unit, '') <> r.id AND coalesce(x.unit, '') <> r.id RETURN elementId(r), r.id LIMIT $most;

// name: stray_alternative
// Alternatives of nothing.
MATCH (a:Alternative) WHERE a.space = $space AND NOT EXISTS { MATCH (a)<-[:CONSIDERED]-(:Fact) }
RETURN elementId(a), a.fact_id LIMIT $most;

// name: stray_stretch
// Stretches that do not begin at the subject of a fact.
MATCH (s:Node)-[h]->() WHERE s.space = $space AND h.fact_id IS NOT NULL
  AND NOT EXISTS { MATCH (f:Fact {space: $space, id: h.fact_id}) WHERE f.subject = s.id }
RETURN elementId(h), h.fact_id LIMIT $most;
