-- name: remember
-- Note the memories among the rows of the ledger after one, up to another.
insert or replace into memory(e, space, k, subject, predicate, session, actor, trust, valid_from, recorded_at)
select f.e, f.space, k.k, k.subject, k.predicate, s.n, a.n, f.trust, f.valid_from, f.recorded_at
from event f
join key k on k.space = f.space and k.id = f.key
left join node o on o.space = f.space and o.id = unhex(replace(json_extract(f.payload, '$.source'), '-', ''))
left join node s on s.space = f.space and s.id = unhex(replace(json_extract(o.attributes, '$.session'), '-', ''))
left join node a on a.space = f.space and a.id = unhex(replace(json_extract(o.attributes, '$.actor'), '-', ''))
where f.e > ?1 and f.e <= ?2 and f.kind = 'asserted' and f.payload is not null
  and json_extract(f.payload, '$.value.kind') in ('text', 'json') and memory_text(f.payload) is not null;

-- name: reached
-- As far as the memories reach.
select coalesce(max(e), 0) from reached where view = 'memory';

-- name: reach
-- Note how far the memories reach.
insert or replace into reached(view, e) values('memory', ?);

-- name: erased_since
-- Whether something was erased by rows of the ledger.
select count(*) from event where e > ? and e <= ? and kind = 'erased';

-- name: erased_memories
-- Memories whose words are gone.
select m.space, m.e from memory m join event f on f.e = m.e where f.payload is null;

-- name: forget
-- Take memories (a JSON list of rows).
delete from memory where e in (select value from json_each(?));

-- name: forget_speakers
-- Forget who said what, where the sources (a JSON list of ids) of an actor (a row) lost their words.
update memory set session = null, actor = null where actor = ?1 and e in (
  select m.e from memory m join event f on f.e = m.e
  where m.actor = ?1 and json_extract(f.payload, '$.source') in (select value from json_each(?2)));

-- name: forget_vectors
-- Take the vectors of memories (a JSON list of rows). {table} is the generation's.
delete from {table} where e in (select value from json_each(?));

-- name: changed
-- Note that vectors went, so that nobody goes on with a copy that has them.
update generation set changes = changes + 1 where n = ?;

-- name: generations
-- The generations of a space.
select n, name, model, dimensions, state, changes from generation where space = ? order by n;

-- name: insert_generation
-- Begin a generation.
insert into generation(space, name, model, dimensions, state, changes) values(?, ?, ?, ?, ?, 0);

-- name: set_state
-- Change the state of a generation.
update generation set state = ? where n = ?;

-- name: create_vectors
-- Make a generation's table; i grows with each vector, so that a copy knows what is new. {table} is its name.
create table {table}(i integer primary key, e int not null unique, v blob not null);

-- name: put_vector
-- Keep a vector, unless there is one.
insert or ignore into {table}(e, v) values(?, ?);

-- name: vectors_after
-- Vectors that came after one.
select i, e, v from {table} where i > ? order by i;

-- name: last_vector
-- The number of the last vector.
select coalesce(max(i), 0) from {table};

-- name: count_vectors
-- How many vectors there are.
select count(*) from {table};

-- name: count_memories
-- How many memories a space has.
select count(*) from memory where space = ?;

-- name: unembedded
-- Memories without a vector, with their payload.
select m.e, f.id, f.payload from memory m join event f on f.e = m.e
where m.space = ?1 and m.e > ?2 and not exists (select 1 from {table} v where v.e = m.e)
order by m.e limit ?3;

-- name: memories_by_id
-- Memories by the ids of their facts (a JSON list of hex).
select f.id, m.e from json_each(?2) i
cross join event f on f.id = unhex(i.value) and f.space = ?1
cross join memory m on m.e = f.e;

-- name: states
-- Which of some memories (a JSON list of rows) hold at (t, r), of those that were known then and are in a scope.
select m.e, f.id, f.subject, m.valid_from, m.e = {holder}
from json_each(:rows) i cross join memory m on m.e = i.value cross join event f on f.e = m.e
where m.recorded_at <= :r and {filters};

-- name: beside
-- Two JSON lists of rows for each of some memories (a JSON list of hex): before and after it, nearest first, held at (t, r).
select f.id, (
  select json_group_array(near.e) from (
    select m.e from (
      select * from memory
      where subject = own.subject and predicate = own.predicate and recorded_at <= :r
        and (valid_from, recorded_at, e) < (own.valid_from, own.recorded_at, own.e)
      order by valid_from desc, recorded_at desc, e desc limit :most) m
    where m.e = {holder} limit :each_side) near
), (
  select json_group_array(near.e) from (
    select m.e from (
      select * from memory
      where subject = own.subject and predicate = own.predicate and recorded_at <= :r
        and (valid_from, recorded_at, e) > (own.valid_from, own.recorded_at, own.e)
      order by valid_from, recorded_at, e limit :most) m
    where m.e = {holder} limit :each_side) near
)
from json_each(:facts) i
cross join event f on f.id = unhex(i.value) and f.space = :space
cross join memory own on own.e = f.e
where own.recorded_at <= :r;

-- name: memory_rows
-- Memories by their rows (a JSON list).
select m.e, f.id, f.subject, m.valid_from
from json_each(?) i cross join memory m on m.e = i.value cross join event f on f.e = m.e;

-- name: matches
-- Memories that have words, best first. {table} is the text table of the space, {filters} are those of the scope.
select m.e, -bm25({table}) as score from {table} t cross join memory m on m.e = t.rowid
where t.body match :words and t.rowid >= :least and t.rowid <= :most and {filters}
order by score desc;

-- name: every_match
-- The same without a scope: what is a memory shows later. FTS5 sorts by its own rank several times slower than this.
select t.rowid, -bm25({table}) as score from {table} t where t.body match :words and t.rowid > 0 order by score desc;

-- name: span
-- The first and the last memory of a scope.
select min(m.e), max(m.e) from memory m where {filters};

-- name: inside
-- The memories of a scope.
select m.e from memory m where {filters} order by m.e;
