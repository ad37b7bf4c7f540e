-- name: space
-- A space of the tenant by name.
select n, id, name, secret, strict, state, filling from space where tenant = ? and name = ?;

-- name: spaces
-- The tenant's spaces with the number of their nodes and the heads of their ledgers.
select n, id, name, secret, strict, state, filling from space where tenant = ? order by name;

-- name: heads
-- The heads of a space's ledgers.
select ledger, seq, hash, recorded_at from head where space = ?;

-- name: head
-- The head of one ledger.
select seq, hash, recorded_at from head where space = ? and ledger = ?;

-- name: set_head
-- Move a ledger's head.
insert or replace into head(space, ledger, seq, hash, recorded_at) values(?, ?, ?, ?, ?);

-- name: replayed
-- The units that idempotency keys (a JSON list of hex) were used for.
select r.op, r.body, r.receipt from json_each(?2) i cross join receipt r on r.space = ?1 and r.op = unhex(i.value);

-- name: taken
-- Which ids (a JSON list of hex) stand for a fact or a node, and in which space, or for a unit (space 0).
select f.space, f.id from json_each(?1) i cross join event f on f.id = unhex(i.value)
where f.kind in ('asserted', 'absent', 'declared')
union all
select 0, r.id from json_each(?1) i cross join receipt r on r.id = unhex(i.value);

-- name: nodes_by_key
-- Nodes by their normal keys (a JSON list).
select node.n, node.id, node.kind, node.type, node.key, node.name, node.attributes, node.recorded_at, node.version, node.norm
from json_each(?2) i cross join node on node.space = ?1 and node.norm = i.value;

-- name: nodes_by_id
-- Nodes by their ids (a JSON list of hex).
select node.n, node.id, node.kind, node.type, node.key, node.name, node.attributes, node.recorded_at, node.version, node.norm
from json_each(?2) i cross join node on node.space = ?1 and node.id = unhex(i.value);

-- name: facts_for_plan
-- Assertions by id (a JSON list of hex) with what a plan must know of them.
select f.id, f.subject, k.predicate, f.key, f.tier, f.kind = 'absent', f.valid_from, c.retracted_at, f.e, k.k,
  f.valid_to, f.trust, f.known, f.payload, (
    select json_extract(s.attributes, '$.origin') from node s
    where s.space = f.space and s.id = unhex(replace(json_extract(f.payload, '$.source'), '-', '')))
from json_each(?2) i
cross join event f on f.id = unhex(i.value) and f.space = ?1 and f.kind in ('asserted', 'absent')
join key k on k.space = f.space and k.id = f.key
join claim c on c.k = k.k and c.valid_from = f.valid_from and c.e = f.e;

-- name: insert_event
-- Append a row to a ledger.
insert into event(e, space, ledger, seq, unit, ordinal, recorded_at, written_at, kind, id, subject, key, target, tier,
  trust, known, valid_from, valid_to, op, body, digest, hash, salt, payload)
values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: insert_node
-- Keep a node, or its new definition when it is declared again.
insert into node(n, space, id, kind, type, key, norm, name, attributes, recorded_at, version)
values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
on conflict(space, id) do update set type = excluded.type, name = excluded.name, attributes = excluded.attributes;

-- name: touch_node
-- Note the last event about a node.
update node set version = ? where space = ? and id = ?;

-- name: node_number
-- The row of a node.
select n from node where space = ? and id = ?;

-- name: key
-- A key by its HMAC.
select k, origin, contested, top from key where space = ? and id = ?;

-- name: insert_key
-- Register a key at its first assertion.
insert into key(k, space, id, subject, predicate, origin, contested, top) values(?, ?, ?, ?, ?, ?, ?, ?);

-- name: mark_key
-- Note that several origins speak of a key, and the highest class among its claims.
update key set contested = ?, top = ? where k = ?;

-- name: insert_claim
-- Keep an assertion as resolution sees it.
insert into claim(k, valid_from, e, valid_to, tier, known, trust, recorded_at, ordinal, absent, retracted_at,
  retraction, object) values(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 9223372036854775807, null, ?);

-- name: retract_claim
-- Take a claim back.
update claim set retracted_at = ?, retraction = ? where k = ? and valid_from = ? and e = ?;

-- name: claims_covering
-- Claims that cover an instant, latest start first; read until the reader has seen enough.
select e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, absent from claim
where k = ? and valid_from <= ? and valid_to > ? and retracted_at = 9223372036854775807
order by valid_from desc;

-- name: claims_starting
-- Claims of a class or a higher one that start inside a stretch, earliest first; read until enough was seen.
select e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, absent from claim
where k = ? and valid_from > ? and valid_from < ? and retracted_at = 9223372036854775807 and 2 * tier + known >= ?
order by valid_from;

-- name: row_before
-- The live row that starts at or before an instant, nearest first.
select e, valid_from, valid_to, recorded_at, closed_at from stretch
where k = ? and valid_from <= ? and retired_at = 9223372036854775807 order by valid_from desc limit 1;

-- name: rows_starting
-- Live rows that start inside a stretch.
select e, valid_from, valid_to, recorded_at, closed_at from stretch
where k = ? and valid_from > ? and valid_from < ? and retired_at = 9223372036854775807;

-- name: insert_row
-- A stretch begins to hold.
insert into stretch(k, valid_from, recorded_at, e, valid_to, closed_at, retired_at)
values(?, ?, ?, ?, ?, ?, 9223372036854775807);

-- name: close_row
-- An open stretch gets its end, once.
update stretch set valid_to = ?, closed_at = ? where k = ? and valid_from = ? and recorded_at = ? and e = ?;

-- name: retire_row
-- A stretch is no longer known, from now on.
update stretch set retired_at = ? where k = ? and valid_from = ? and recorded_at = ? and e = ?;

-- name: insert_receipt
-- Keep what became of a unit.
insert into receipt(id, space, op, body, receipt) values(?, ?, ?, ?, ?);

-- name: holding_of_subjects
-- The facts that hold of nodes (a JSON list of hex): at most one a key, so each key's search stops at the first.
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, null, null, null, k.k, k.contested
from json_each(?2) i
cross join node n on n.space = ?1 and n.id = unhex(i.value)
cross join key k on k.subject = n.n
cross join event f on f.e = (
  select h.e from stretch h
  where h.k = k.k and h.valid_from <= ?3 and h.recorded_at <= ?4 and h.retired_at > ?4
    and (h.valid_to > ?3 or h.closed_at > ?4)
  order by h.valid_from desc, h.recorded_at desc limit 1)
limit ?5;

-- name: holding_of_subjects_predicates
-- The same for some predicates only (a JSON list).
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, null, null, null, k.k, k.contested
from json_each(?2) i
cross join node n on n.space = ?1 and n.id = unhex(i.value)
cross join json_each(?6) p
cross join key k on k.subject = n.n and k.predicate = p.value
cross join event f on f.e = (
  select h.e from stretch h
  where h.k = k.k and h.valid_from <= ?3 and h.recorded_at <= ?4 and h.retired_at > ?4
    and (h.valid_to > ?3 or h.closed_at > ?4)
  order by h.valid_from desc, h.recorded_at desc limit 1)
limit ?5;

-- name: holding_of_objects
-- The facts that point at nodes or facts (a JSON list of hex) and hold; predicates may be null for all.
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, null, null, null, k.k, k.contested
from json_each(?2) i
cross join claim c on c.object = unhex(i.value)
cross join key k on k.k = c.k and k.space = ?1 and (?6 is null or k.predicate in (select value from json_each(?6)))
cross join event f on f.e = c.e
where exists (
  select 1 from stretch h
  where h.k = c.k and h.e = c.e and h.valid_from <= ?3 and h.recorded_at <= ?4 and h.retired_at > ?4
    and (h.valid_to > ?3 or h.closed_at > ?4))
limit ?5;

-- name: standing_of_subjects
-- Every assertion about nodes (a JSON list of hex) that was made and not taken back; predicates may be null for all.
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, null, null, null, k.k, 0
from json_each(?2) i
cross join node n on n.space = ?1 and n.id = unhex(i.value)
cross join key k on k.subject = n.n and (?6 is null or k.predicate in (select value from json_each(?6)))
cross join claim c on c.k = k.k and c.recorded_at <= ?4 and c.retracted_at > ?4
cross join event f on f.e = c.e
limit ?5;

-- name: standing_of_objects
-- The same of those that point at nodes or facts (a JSON list of hex).
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, null, null, null, k.k, 0
from json_each(?2) i
cross join claim c on c.object = unhex(i.value) and c.recorded_at <= ?4 and c.retracted_at > ?4
cross join key k on k.k = c.k and k.space = ?1 and (?6 is null or k.predicate in (select value from json_each(?6)))
cross join event f on f.e = c.e
limit ?5;

-- name: facts_by_id
-- Assertions by id (a JSON list of hex), retracted ones too, with their retraction.
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, c.retracted_at, r.payload, f.unit, k.k, k.contested
from json_each(?2) i
cross join event f on f.id = unhex(i.value) and f.space = ?1 and f.kind in ('asserted', 'absent')
join key k on k.space = f.space and k.id = f.key
join claim c on c.k = k.k and c.valid_from = f.valid_from and c.e = f.e
left join event r on r.e = c.retraction
where f.recorded_at <= ?3;

-- name: holder_of_key
-- The claim that holds for a key, an absence too: candidates in order of start, for the reader to rank.
select e, valid_from, valid_to, tier, known, trust, recorded_at, ordinal, absent, retracted_at from claim
where k = ?1 and valid_from <= ?2 and valid_to > ?2 and recorded_at <= ?3 and retracted_at > ?3
order by valid_from desc;

-- name: challengers
-- Claims of a key that cover an instant and start no earlier than its holder.
select c.e, c.valid_from, c.valid_to, c.tier, c.known, c.trust, c.recorded_at, c.ordinal, c.absent, f.id, f.payload
from claim c join event f on f.e = c.e
where c.k = ?1 and c.valid_from <= ?2 and c.valid_from >= ?4 and c.valid_to > ?2 and c.recorded_at <= ?3
  and c.retracted_at > ?3
order by c.e <> ?5 limit 10000;

-- name: facts_by_row
-- Assertions by their row numbers (a JSON list).
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, c.retracted_at, r.payload, f.unit, k.k, k.contested
from json_each(?1) i
cross join event f on f.e = i.value
join key k on k.space = f.space and k.id = f.key
join claim c on c.k = k.k and c.valid_from = f.valid_from and c.e = f.e
left join event r on r.e = c.retraction;

-- name: key_top
-- The highest class among a key's claims.
select top from key where k = ?;

-- name: timeline
-- Assertions about nodes (a JSON list of hex) in valid order, after a cursor.
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, c.retracted_at, r.payload, f.unit, k.k, k.contested
from json_each(?2) i
cross join node n on n.space = ?1 and n.id = unhex(i.value)
cross join key k on k.subject = n.n and (?3 is null or k.predicate in (select value from json_each(?3)))
cross join claim c on c.k = k.k and c.valid_from >= ?5 and c.recorded_at <= ?4
cross join event f on f.e = c.e
left join event r on r.e = c.retraction
where (c.valid_from, c.recorded_at, c.ordinal, c.e) > (?5, ?6, ?7, ?8)
order by c.valid_from, c.recorded_at, c.ordinal, c.e limit ?9;

-- name: timeline_of_few
-- The same of few keys, a page of each: what comes after it is not read, so that all pages cost what they return.
select f.e, f.id, f.subject, k.predicate, f.kind, f.trust, f.known, f.valid_from, f.valid_to, f.recorded_at, f.ordinal,
  f.payload, c.retracted_at, r.payload, f.unit, k.k, k.contested
from json_each(?2) i
cross join node n on n.space = ?1 and n.id = unhex(i.value)
cross join key k on k.subject = n.n and (?3 is null or k.predicate in (select value from json_each(?3)))
cross join claim c on c.k = k.k and (c.valid_from, c.e) in (
  select o.valid_from, o.e from claim o
  where o.k = k.k and o.valid_from >= ?5 and o.recorded_at <= ?4
    and (o.valid_from, o.recorded_at, o.ordinal, o.e) > (?5, ?6, ?7, ?8)
  order by o.valid_from, o.recorded_at, o.ordinal, o.e limit ?9)
cross join event f on f.e = c.e
left join event r on r.e = c.retraction
order by c.valid_from, c.recorded_at, c.ordinal, c.e limit ?9;

-- name: timeline_keys
-- How many keys nodes (a JSON list of hex) have, up to a bound.
select count(*) from (
  select 1 from json_each(?2) i
  cross join node n on n.space = ?1 and n.id = unhex(i.value)
  cross join key k on k.subject = n.n and (?3 is null or k.predicate in (select value from json_each(?3)))
  limit ?4);

-- name: seq_recorded
-- The recorded time of a ledger row.
select recorded_at from event where space = ? and ledger = ? and seq = ?;

-- name: changes
-- What was asserted, ended and retracted in a stretch of the ledger.
select seq, e, kind, recorded_at, target, payload from event
where space = ? and ledger = 0 and seq > ? and seq <= ? and kind in ('asserted', 'absent', 'retracted')
order by seq limit ?;

-- name: changes_of
-- The same for some nodes (a JSON list of hex).
select f.seq, f.e, f.kind, f.recorded_at, f.target, f.payload from (
  select c.e as e from json_each(?5) i
    cross join node n on n.space = ?1 and n.id = unhex(i.value)
    cross join key k on k.subject = n.n cross join claim c on c.k = k.k
  union
  select c.retraction from json_each(?5) i
    cross join node n on n.space = ?1 and n.id = unhex(i.value)
    cross join key k on k.subject = n.n cross join claim c on c.k = k.k and c.retraction is not null) x
cross join event f on f.e = x.e and f.ledger = 0
where f.seq > ?2 and f.seq <= ?3 order by f.seq limit ?4;

-- name: beginnings
-- Assertions not retracted whose period starts in a stretch of valid time; nodes may be null for all.
select f.seq, f.e, f.kind, f.recorded_at, f.target, f.payload, c.valid_from
from key k join claim c on c.k = k.k
join event f on f.e = c.e and f.ledger = 0
where k.space = ?1 and c.valid_from > ?2 and c.valid_from <= ?3 and c.retracted_at = 9223372036854775807
  and (c.valid_from, f.seq) > (?4, ?5)
  and (?6 is null or k.subject in (
    select n.n from json_each(?6) i cross join node n on n.space = ?1 and n.id = unhex(i.value)))
order by c.valid_from, f.seq limit ?7;

-- name: feed
-- Ledger rows after a seq.
select seq, unit, ordinal, recorded_at, written_at, kind, id, subject, key, target, tier, trust, known, valid_from,
  valid_to, op, body, digest, hash, salt, payload
from event where space = ? and ledger = ? and seq > ? order by seq limit ?;

-- name: near_keys
-- Keys that begin like a key.
select key from node where space = ?1 and norm >= ?2 and norm < ?3 order by norm limit ?4;

-- name: some_keys
-- Keys of one type, for suggestions.
select key from node where space = ?1 and norm is not null and kind in ('entity', 'decision', 'actor', 'session')
order by n desc limit 5000;

-- name: text_hits
-- Text rows that match, best first, of things that are to be seen as of the two clocks. A negative row is a node's.
-- {table} is the text table of the space.
select t.rowid, t.rank from {table} t where t.body match ?1 order by t.rank;

-- name: text_fact
-- Whether a fact found by its text holds, and whose it is.
select n.n, n.kind from event f
join key k on k.space = f.space and k.id = f.key
join node n on n.n = k.subject
where f.e = ?1 and exists (
  select 1 from stretch h
  where h.k = k.k and h.e = f.e and h.valid_from <= ?2 and h.recorded_at <= ?3 and h.retired_at > ?3
    and (h.valid_to > ?2 or h.closed_at > ?3));

-- name: node_rows
-- Nodes by their row numbers (a JSON list).
select node.n, node.id, node.kind, node.type, node.key, node.name, node.attributes, node.recorded_at, node.version, node.norm
from json_each(?1) i cross join node on node.n = i.value;

-- name: refusal
-- A refused write by its receipt id.
select space, code, message, at from refusal where id = ? and tenant = ?;

-- name: stored_receipt
-- A kept write by its receipt id.
select r.receipt from receipt r join space s on s.n = r.space where r.id = ? and s.tenant = ?;

-- name: visible_row
-- The stretch of a key that is visible at (valid time, recorded time).
select e from stretch
where k = ?1 and valid_from <= ?2 and recorded_at <= ?3 and retired_at > ?3 and (valid_to > ?2 or closed_at > ?3)
order by valid_from desc, recorded_at desc limit 1;

-- name: claim_of_fact
-- The claim of an assertion, for taking it back.
select c.e, c.valid_from, c.valid_to, c.tier, c.known, c.trust, c.recorded_at, c.ordinal, c.absent, k.k
from event f join key k on k.space = f.space and k.id = f.key
join claim c on c.k = k.k and c.valid_from = f.valid_from and c.e = f.e
where f.space = ?1 and f.id = ?2 and f.kind in ('asserted', 'absent');

-- name: keys_of_facts
-- The keys that assertions (a JSON list of hex) compete for.
select f.id, k.k from json_each(?2) i
cross join event f on f.id = unhex(i.value) and f.space = ?1 and f.kind in ('asserted', 'absent')
join key k on k.space = f.space and k.id = f.key;

-- name: evict_refusals
-- Forget a tenant's oldest refusals above a bound.
delete from refusal where tenant = ?1 and n <= (
  select n from refusal where tenant = ?1 order by n desc limit 1 offset ?2);

-- name: receipts_of_units
-- The receipts of units (a JSON list of hex).
select r.id, r.receipt from json_each(?2) i cross join receipt r on r.id = unhex(i.value) and r.space = ?1;

-- name: hashes
-- The hashes of ledger rows from a seq on.
select seq, hash from event where space = ?1 and ledger = ?2 and seq >= ?3 order by seq limit ?4;
