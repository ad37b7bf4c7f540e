// 06 The graph as of a date
// Relations and statuses as of $validAt (what was true) and $knownAt (what was known).
// Turn off "Connect result nodes", or the Browser adds every relationship that ever held: :config autoComplete: false
MATCH (s:Space {tenant: $tenant, name: $space})
WITH s, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH p = (a:Node {space: s.space})-[h]->(b)
WHERE a.born > '' AND h.fact_id IS NOT NULL AND (b:Node OR h.predicate = 'status')
  AND h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
RETURN p LIMIT 300;
