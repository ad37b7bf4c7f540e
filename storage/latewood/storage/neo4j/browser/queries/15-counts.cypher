// 15 What there is
// Nodes by label, of every space in the database, bookkeeping too.
MATCH (n) UNWIND labels(n) AS label
RETURN label, count(*) AS nodes ORDER BY nodes DESC;
