// What there is: nodes by label
// Of every space in the database, bookkeeping too.
MATCH (n) UNWIND labels(n) AS label
RETURN label, count(*) AS nodes ORDER BY nodes DESC;
