// 05 What changed
// Asserted, ended or retracted between $since (a week ago) and $until (now), by recorded time, newest first.
MATCH (s:Space {tenant: $tenant, name: $space})
WITH s, coalesce($since, datetime() - duration('P7D')) AS since, coalesce($until, datetime({year: 9999})) AS until
MATCH (f:Fact {space: s.space})
WHERE f.place >= 0
  AND ((f.recorded_at >= since AND f.recorded_at < until) OR (f.retracted_at >= since AND f.retracted_at < until))
WITH f, since, until ORDER BY f.place DESC LIMIT 150
MATCH (n:Node {space: f.space, id: f.subject})
OPTIONAL MATCH (o:Node|Fact {space: f.space, id: f.object})
OPTIONAL MATCH p = (n)-[:HAS_FACT]->(f)
OPTIONAL MATCH q = (n)-[h]->(o) WHERE h.fact_id = f.id
RETURN CASE WHEN f.retracted_at >= since AND f.retracted_at < until THEN 'retracted'
    WHEN f.absent THEN 'ended' ELSE 'asserted' END AS what,
  coalesce(n.name, n.key) AS about, f.title + coalesce(' ' + coalesce(o.name, o.title), '') AS said,
  f.recorded_at AS recorded_at, f.retracted_at AS retracted_at,
  collect(DISTINCT p) AS p, collect(DISTINCT q) AS q
ORDER BY recorded_at DESC;
