-- name: subjects
-- The subjects of a space after one, in order of their ids, with what their rows weigh: one each, and one a KB.
select subject, sum(1 + coalesce(length(payload), 0) / 1024) from event
where space = ?1 and subject > ?2 group by subject order by subject;

-- name: rows_in_range
-- The rows about a range of subjects, as they were written.
select e, ledger, seq, unit, ordinal, recorded_at, kind, id, subject, key, target, tier, trust, known, valid_from,
  valid_to, payload from event
where space = ?1 and subject > ?2 and subject <= ?3 order by e;

-- name: rows_of_subjects
-- The rows about subjects (a JSON list of hex), as they were written.
select e, ledger, seq, unit, ordinal, recorded_at, kind, id, subject, key, target, tier, trust, known, valid_from,
  valid_to, payload from event
where space = ?1 and subject in (select unhex(value) from json_each(?2)) order by e;

-- name: erasures
-- What a space's erasures say.
select e, ledger, seq, unit, ordinal, recorded_at, kind, id, subject, key, target, tier, trust, known, valid_from,
  valid_to, payload from event where space = ?1 and kind = 'erased' order by e;

-- name: rows_by_seq
-- Rows of a ledger from one seq to another.
select e, ledger, seq, unit, ordinal, recorded_at, kind, id, subject, key, target, tier, trust, known, valid_from,
  valid_to, payload, op, body from event where space = ?1 and ledger = ?2 and seq > ?3 and seq <= ?4 order by seq;

-- name: unit_end
-- The last row of the unit that has a row.
select max(seq) from event where space = ?1 and ledger = ?2 and seq >= ?3 and seq < ?3 + 100000
  and unit = (select unit from event where space = ?1 and ledger = ?2 and seq = ?3);

-- name: declaration
-- The row that declared a node.
select payload from event where id = ?2 and space = ?1 and kind = 'declared' order by e limit 1;

-- name: nodes_in_range
-- The ids of the nodes stored in a range.
select id from node where space = ?1 and id > ?2 and id <= ?3;

-- name: nodes
-- Nodes by id (a JSON list of hex).
select node.n, node.id, node.kind, node.type, node.key, node.norm, node.name, node.attributes, node.recorded_at,
  node.version from json_each(?2) i
cross join node on node.space = ?1 and node.id = unhex(i.value);

-- name: declared_before
-- The latest node declared before a row that is stored, the row of its declaration, and how many were declared since.
select n.n, f.e, (select count(*) from event g where g.kind = 'declared' and g.e > f.e and g.e <= ?1)
from event f join node n on n.space = f.space and n.id = f.id
where f.kind = 'declared' and f.e < ?1 order by f.e desc limit 1;

-- name: put_node
-- Store a node under its number.
insert or replace into node(n, space, id, kind, type, key, norm, name, attributes, recorded_at, version)
values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: free_norm
-- Take a normal key from a node that has it wrongly.
update node set norm = null where space = ?1 and norm = ?2 and id <> ?3;

-- name: keys
-- Keys by id, and those of nodes (JSON lists of hex, and of numbers).
select k, id, subject, predicate, origin, contested, top from key
where k in (select k.k from json_each(?2) i cross join key k on k.space = ?1 and k.id = unhex(i.value)
  union select k.k from json_each(?3) i cross join key k on k.subject = i.value and k.space = ?1);

-- name: claims
-- The claims of keys (a JSON list of their numbers).
select c.k, c.valid_from, c.e, c.valid_to, c.tier, c.known, c.trust, c.recorded_at, c.ordinal, c.absent,
  c.retracted_at, c.retraction, c.object from json_each(?1) i cross join claim c on c.k = i.value;

-- name: stretches
-- The stretches of keys (a JSON list of their numbers).
select s.k, s.valid_from, s.recorded_at, s.e, s.valid_to, s.closed_at, s.retired_at
from json_each(?1) i cross join stretch s on s.k = i.value;

-- name: put_key
-- Store a key under its number, or a new one.
insert or replace into key(k, space, id, subject, predicate, origin, contested, top) values(?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_claim
-- Store a claim.
insert or replace into claim(k, valid_from, e, valid_to, tier, known, trust, recorded_at, ordinal, absent, retracted_at,
  retraction, object) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_stretch
-- Store a stretch.
insert or replace into stretch(k, valid_from, recorded_at, e, valid_to, closed_at, retired_at)
values(?, ?, ?, ?, ?, ?, ?);

-- name: put_receipt
-- Store a receipt.
insert or replace into receipt(id, space, op, body, receipt) values(?, ?, ?, ?, ?);

-- name: free_op
-- Take an idempotency key from a receipt that has it wrongly.
update receipt set op = null where space = ?1 and op = ?2 and id <> ?3;

-- name: receipts
-- Receipts by id (a JSON list of hex).
select r.id, r.space, r.op, r.body, r.receipt from json_each(?1) i cross join receipt r on r.id = unhex(i.value);

-- name: texts
-- Text rows by number (a JSON list). {table} is the text table of the space.
select rowid, body from {table} where rowid in (select value from json_each(?1));

-- name: stray_keys
-- Keys of nodes that are not there and that no row of the ledger is about.
select k, id from key k where space = ?1 and not exists (select 1 from node n where n.n = k.subject and n.space = ?1)
  and not exists (select 1 from claim c join event f on f.e = c.e where c.k = k.k and f.key = k.id and f.space = ?1);

-- name: stray_claims
-- Claims of keys that are not there.
select c.k, c.valid_from, c.e from claim c where not exists (select 1 from key k where k.k = c.k);

-- name: stray_stretches
-- Stretches of keys that are not there.
select s.k, s.valid_from, s.recorded_at, s.e from stretch s where not exists (select 1 from key k where k.k = s.k);

-- name: stray_receipts
-- Receipts of units that no ledger has; the receipt names its row.
select r.id from receipt r
left join event f on f.space = r.space and f.unit = r.id
  and f.ledger = case when json_valid(r.receipt) then r.receipt ->> '$.ledger' = 'execution' end
  and f.seq = case when json_valid(r.receipt) then r.receipt ->> '$.seq' end
where r.space = ?1 and f.e is null;

-- name: stray_texts
-- Text rows of neither an assertion nor a node. {table} is the text table of the space.
select rowid from {table} t
where (t.rowid > 0 and not exists (
    select 1 from event f where f.e = t.rowid and f.space = ?1 and f.kind in ('asserted', 'absent')))
  or (t.rowid <= 0 and not exists (select 1 from node n where n.n = -t.rowid and n.space = ?1));

-- name: memories
-- Memories by their rows (a JSON list).
select e, space, k, subject, predicate, session, actor, trust, valid_from, recorded_at from memory
where e in (select value from json_each(?1));

-- name: put_memory
-- Store a memory.
insert or replace into memory(e, space, k, subject, predicate, session, actor, trust, valid_from, recorded_at)
values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: stray_memories
-- Memories of what is no assertion.
select m.e from memory m where m.space = ?1
  and not exists (select 1 from event f where f.e = m.e and f.space = ?1 and f.kind = 'asserted');

-- name: heads
-- Heads whose recorded time is not that of their last row.
select h.ledger, h.seq, f.recorded_at from head h
join event f on f.space = h.space and f.ledger = h.ledger and f.seq = h.seq
where h.space = ?1 and h.recorded_at <> f.recorded_at;

-- name: drop_node
-- Take a node that the ledger does not know.
delete from node where n = ?;

-- name: drop_key
-- Take a key.
delete from key where k = ?;

-- name: drop_claims
-- Take the claims of a key.
delete from claim where k = ?;

-- name: drop_stretches
-- Take the stretches of a key.
delete from stretch where k = ?;

-- name: drop_claim
-- Take one claim.
delete from claim where k = ? and valid_from = ? and e = ?;

-- name: drop_stretch
-- Take one stretch.
delete from stretch where k = ? and valid_from = ? and recorded_at = ? and e = ?;

-- name: drop_receipt
-- Take a receipt.
delete from receipt where id = ?;

-- name: drop_text
-- Take a text row. {table} is the text table of the space.
delete from {table} where rowid = ?;

-- name: put_text
-- Store a text row. {table} is the text table of the space.
insert into {table}(rowid, body) values(?, ?);

-- name: count_texts
-- How many text rows there are. {table} is the text table of the space.
select count(*) from {table};

-- name: check_texts
-- Compare the index of the words with the text rows. {table} is the text table of the space.
insert into {table}({table}) values('integrity-check');

-- name: index_texts
-- Make the index of the words again from the text rows. {table} is the text table of the space.
insert into {table}({table}) values('rebuild');

-- name: key_of_node
-- The number of the node that a key of its is kept under.
select k.subject from event f join key k on k.space = f.space and k.id = f.key
where f.space = ? and f.subject = ? and f.key is not null limit 1;

-- name: node_by_number
-- Whether a node has a number.
select 1 from node where n = ?;

-- name: last_node
-- The highest number of a node.
select coalesce(max(n), 0) from node;

-- name: set_recorded
-- Give a head the recorded time of its last row.
update head set recorded_at = ? where space = ? and ledger = ?;
