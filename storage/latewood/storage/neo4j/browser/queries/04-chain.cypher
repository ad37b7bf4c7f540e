// 04 The line of one decision
// What came before $key and what took its place, ten steps either way, as of $validAt and $knownAt.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (d:Decision:Node {space: s.space, norm: toLower($key)})
WITH d, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH p = (d)-[:SUPERSEDES|AMENDS*0..10]-(:Decision)
WHERE all(h IN relationships(p) WHERE
  h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r))
RETURN p LIMIT 200;
