// 11 What was taken back
// Retracted and corrected facts with the reason, newest first; REPLACES leads from a correction to what it corrected.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (f:Fact {space: s.space}) WHERE f.place >= 0 AND f.retracted_at IS NOT NULL
WITH f ORDER BY f.retracted_at DESC LIMIT 100
OPTIONAL MATCH of = (:Node)-[:HAS_FACT]->(f)
OPTIONAL MATCH now = (:Node)-[:HAS_FACT]->(:Fact)-[:REPLACES]->(f)
OPTIONAL MATCH from = (f)-[:SAID_BY]->(:Source)
RETURN f.title AS said, f.recorded_at AS recorded_at, f.retracted_at AS retracted_at, f.retired_reason AS because,
  collect(DISTINCT of) AS of, collect(DISTINCT now) AS now, collect(DISTINCT from) AS from
ORDER BY retracted_at DESC;
