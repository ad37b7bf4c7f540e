// A run with its steps
// Empty until a space has runs; the labels are known before there are any.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH p = (run:Run {space: s.space})-[:HAS_STEP]->(step:Step)
OPTIONAL MATCH q = (step)-[:HAS_ATTEMPT]->(:Attempt)
RETURN p, q LIMIT 200;
