// 14 All but the bookkeeping
// What people name and what is said of it; without ledger, keys, receipts and leases.
MATCH (s:Space {tenant: $tenant, name: $space})
MATCH (n:Node {space: s.space}) WHERE n.born > '' AND NOT n:Predicate
OPTIONAL MATCH p = (n)-[]->(x) WHERE x:Node OR x:Fact OR x:Alternative
RETURN n, p LIMIT 300;
