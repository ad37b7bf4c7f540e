// 08 The history of one thing
// Every stretch of $key, those that ended or were taken back too: when a fact held, and when we learned of it.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (n:Node {space: s.space, norm: toLower($key)})
MATCH p = (n)-[h]-(x) WHERE h.fact_id IS NOT NULL
RETURN h.predicate AS predicate, coalesce(x.title, x.name) AS said, h.valid_from AS valid_from, h.valid_to AS valid_to,
  h.recorded_at AS recorded_at, h.closed_at AS closed_at, h.retired_at AS retired_at, p
ORDER BY predicate, valid_from, recorded_at LIMIT 300;
