// 07 One thing as of a date
// All that holds of $key, as of $validAt and $knownAt.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (n:Node {space: s.space, norm: toLower($key)})
WITH n, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH p = (n)-[h]-(x)
WHERE h.fact_id IS NOT NULL
  AND h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
RETURN h.predicate AS predicate, coalesce(x.title, x.name) AS holds, h.valid_from AS valid_from, p
ORDER BY predicate LIMIT 300;
