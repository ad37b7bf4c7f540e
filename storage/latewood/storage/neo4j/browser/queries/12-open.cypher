// 12 Decisions still open
// Proposed or deferred, as of $validAt and $knownAt.
MATCH (s:Space {tenant: $tenant, name: $space})
WITH s, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH p = (d:Node {space: s.space})-[h:HAS_FACT {predicate: 'status'}]->(f:Fact)
WHERE d:Decision AND d.born > '' AND f.value IN ['proposed', 'deferred']
  AND h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
RETURN d.key AS key, d.name AS title, f.value AS status, f.valid_from AS since, p ORDER BY since LIMIT 300;
