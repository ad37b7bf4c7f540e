// 09 Where sources disagree
// What holds, and who says otherwise, as of $validAt and $knownAt. A challenger starts no earlier.
MATCH (s:Space {tenant: $tenant, name: $space})
WITH s, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH (k:Key {space: s.space, contested: true}) WHERE k.id > ''
MATCH (n:Node {space: k.space, id: k.subject})-[h]->(x)
WHERE h.predicate = k.predicate
  AND h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
MATCH (f:Fact {space: k.space, id: h.fact_id}) WHERE f.key_id = k.id
MATCH (c:Fact {space: k.space, key_id: k.id})
WHERE c.id <> f.id AND c.valid_from <= t AND c.valid_from >= f.valid_from AND (c.valid_to IS NULL OR c.valid_to > t)
  AND c.recorded_at <= r AND (c.retracted_at IS NULL OR c.retracted_at > r)
  AND (c.absent OR coalesce(c.said, toString(c.value)) <> coalesce(f.said, toString(f.value)))
MATCH fs = (f)-[:SAID_BY]->(here:Source) MATCH cs = (c)-[:SAID_BY]->(there:Source)
WHERE here.name <> there.name
RETURN n.name AS about, f.title AS holds, here.name AS says, c.title AS against, there.name AS who_says,
  n, f, h, fs, cs LIMIT 200;
