// 03 What superseded what
// In the whole space, as of $validAt and $knownAt.
MATCH (s:Space {tenant: $tenant, name: $space})
WITH s, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH p = (new:Node {space: s.space})-[h:SUPERSEDES]->(old:Decision)
WHERE new.born > '' AND h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
RETURN new.key AS new, old.key AS old, h.valid_from AS since, p ORDER BY since LIMIT 300;
