// 01 Why a decision was taken
// Its record, alternatives, evidence, who and from where: of $key, as of $validAt and $knownAt.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (d:Node {space: s.space, norm: toLower($key)})
WITH d, coalesce($validAt, datetime()) AS t, coalesce($knownAt, datetime({year: 9999})) AS r
MATCH p = (d)-[h]-(x)
WHERE h.fact_id IS NOT NULL AND h.predicate <> 'file'
  AND h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
OPTIONAL MATCH more = (x:Fact)-[:CONSIDERED|SAID_BY]->(y)
OPTIONAL MATCH by = (y:Source)-[:BY|ON_BEHALF_OF|IN_SESSION]->()
OPTIONAL MATCH of = (x:Fact)<-[:HAS_FACT]-(:Node)
RETURN p, more, by, of LIMIT 300;
