-- name: node_target
-- The row, kind and key of a node that may be erased.
select n, kind, key, norm from node where space = ? and id = ?;

-- name: fact_target
-- The subject of an assertion that may be erased.
select subject from event where id = ?2 and space = ?1 and kind in ('asserted', 'absent');

-- name: absorbed_by
-- The nodes that were merged into others (a JSON list of ids as text).
select n, id, kind from node
where space = ?1 and kind = 'entity' and json_extract(attributes, '$.merged_into') in (select value from json_each(?2));

-- name: linked_facts
-- The facts that rows (a JSON list) say again of another node, those that say again what the rows took back, and the
-- rows' own where they are absences: a fact's end may be said again elsewhere too.
select json_extract(payload, '$.carried'), json_extract(payload, '$.moved_to'),
  case when kind = 'absent' then lower(hex(id)) end
from event
where e in (select value from json_each(?1)) and payload is not null and kind in ('asserted', 'absent', 'retracted');

-- name: rows_about_node
-- The rows of both ledgers about a node that still have their payload: its declaration, assertions, and retractions.
select f.e, f.seq, f.key, k.predicate, json_extract(f.payload, '$.source'), f.ledger from (
  select e from event where id = ?2 and space = ?1
  union select c.e from key k join claim c on c.k = k.k where k.subject = ?3
  union select c.retraction from key k join claim c on c.k = k.k where k.subject = ?3 and c.retraction is not null) x
cross join event f on f.e = x.e
left join key k on k.space = f.space and k.id = f.key
where f.payload is not null and f.kind <> 'erased' order by f.seq;

-- name: rows_about_fact
-- The same of a fact: its own row, and those that end and retract it.
select f.e, f.seq, f.key, k.predicate, json_extract(f.payload, '$.source'), f.ledger from (
  select e from event where id = ?2 and space = ?1
  union select a.e from event o
    join key k on k.space = o.space and k.id = o.key join claim c on c.k = k.k and c.absent = 1
    join event a on a.e = c.e and a.target = ?2
    where o.id = ?2 and o.space = ?1
  union select c.retraction from event o
    join key k on k.space = o.space and k.id = o.key join claim c on c.k = k.k and c.e = o.e
    where o.id = ?2 and o.space = ?1 and c.retraction is not null) x
cross join event f on f.e = x.e
left join key k on k.space = f.space and k.id = f.key
where f.payload is not null and f.kind <> 'erased' order by f.seq;

-- name: sources_named
-- The source of every payload of a space, latest first; read until the reader has seen enough.
select e, json_extract(payload, '$.source') from event not indexed
where space = ? and payload is not null order by e desc;

-- name: sources_under_key
-- Sources that speak under an actor's own key.
select id from node where space = ?1 and kind = 'source'
and json_extract(attributes, '$.actor') = ?2 and json_extract(attributes, '$.origin') = ?3;

-- name: declarations
-- The rows that declare nodes (a JSON list of hex).
select f.id, f.seq from json_each(?3) i
cross join event f indexed by event_id on f.id = unhex(i.value) and f.space = ?1
where f.ledger = ?2 and f.kind = 'declared' and f.payload is not null;

-- name: rows_by_seq
-- The rows of a ledger (a JSON list of seqs) that still have their payload.
select f.e from json_each(?3) i
cross join event f on f.space = ?1 and f.ledger = ?2 and f.seq = i.value where f.payload is not null;

-- name: take_payloads
-- Take the payload and the salt of rows (a JSON list).
update event set payload = null, salt = null where e in (select value from json_each(?1));

-- name: take_objects
-- Forget what erased assertions (a JSON list of rows) pointed to.
update claim set object = null where object is not null and (k, valid_from, e) in (
  select k.k, f.valid_from, f.e from json_each(?1) i
  join event f on f.e = i.value join key k on k.space = f.space and k.id = f.key);

-- name: count_texts
-- How many text rows there are of these (a JSON list). {table} is the text table of the space.
select count(*) from {table} where rowid in (select value from json_each(?1));

-- name: take_texts
-- Take text rows (a JSON list). {table} is the text table of the space.
delete from {table} where rowid in (select value from json_each(?1));

-- name: bury_node
-- Leave a tombstone of a node; attributes that are null mark it.
update node set kind = ?, type = '', key = null, norm = null, name = ?, attributes = 'null' where n = ?;

-- name: name_key
-- Give a key that was replayed without its words the predicate that its erasure kept.
update key set predicate = ? where space = ? and id = ? and predicate = '';

-- name: receipts_naming
-- Receipts in which a node's id or its key (as JSON) stands.
select id, receipt from receipt where space = ?1 and (instr(receipt, ?2) or instr(receipt, ?3));

-- name: set_receipt
-- Write a receipt anew.
update receipt set receipt = ? where id = ?;

-- name: empty_refusals
-- Take the words of a space's refusals.
update refusal set message = ?3, actor = '' where tenant = ?1 and space = ?2 and message <> ?3;
