// 13 A run with its steps
// Empty until a space has runs; the labels are known before there are any.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH p = (run:Node {space: s.space})-[:HAS_STEP]->(step:Step) WHERE run:Run AND run.born > ''
OPTIONAL MATCH q = (step)-->(:Attempt)
RETURN p, q LIMIT 200;
