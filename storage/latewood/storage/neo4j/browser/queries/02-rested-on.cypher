// 02 What a decision rested on
// Of $key, as it was known when it was recorded. The table says what was taken back since, and what holds today.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (d:Decision:Node {space: s.space, norm: toLower($key)})-[first:HAS_FACT {predicate: 'record'}]->()
WITH d, first ORDER BY first.recorded_at, first.valid_from LIMIT 1
WITH d, first.valid_from AS t, first.recorded_at AS r
MATCH p = (d)-[h:BASED_ON]->(x)
WHERE h.recorded_at <= r AND (h.retired_at IS NULL OR h.retired_at > r) AND h.valid_from <= t
  AND (h.valid_to IS NULL OR h.closed_at IS NULL OR h.valid_to > t OR h.closed_at > r)
OPTIONAL MATCH of = (x:Fact)<-[:HAS_FACT]-(:Node)
OPTIONAL MATCH said = (x:Fact)-[:SAID_BY]->(:Source)
OPTIONAL MATCH today = (:Node)-[n:HAS_FACT]->(now:Fact {space: d.space, key_id: x.key_id})
  WHERE now.valid_from <= datetime() AND n.retired_at IS NULL
    AND n.valid_from <= datetime() AND (n.valid_to IS NULL OR n.valid_to > datetime())
RETURN coalesce(x.title, x.name) AS rested_on, x.retracted_at AS taken_back, now.title AS holds_today,
  p, collect(DISTINCT of) AS of, collect(DISTINCT said) AS said, collect(DISTINCT today) AS today LIMIT 200;
