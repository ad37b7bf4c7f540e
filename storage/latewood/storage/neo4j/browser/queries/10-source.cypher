// 10 What a source said
// Sources with $source in their name: a path, an address, a person.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (o:Node {space: s.space}) WHERE o:Source AND o.born > '' AND toLower(o.name) CONTAINS toLower($source)
MATCH p = (f:Fact)-[:SAID_BY]->(o)
OPTIONAL MATCH by = (o)-[:BY|ON_BEHALF_OF|IN_SESSION]->()
OPTIONAL MATCH of = (:Node)-[:HAS_FACT]->(f)
RETURN o.name AS source, f.title AS said, f.recorded_at AS recorded_at, f.retracted_at AS retracted_at, p,
  collect(DISTINCT by) AS by, collect(DISTINCT of) AS of
ORDER BY recorded_at LIMIT 300;
