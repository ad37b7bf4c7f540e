-- name: reached
-- As far as the statuses reach.
select coalesce(max(e), 0) from reached where view = 'status';

-- name: reach
-- Note how far the statuses reach.
insert or replace into reached(view, e) values('status', ?);

-- name: told
-- The nodes of whose status rows of the ledger say something, after one row, up to another.
select distinct k.subject from event f join key k on k.space = f.space and k.id = f.key
join node on node.n = k.subject
where f.e > ?1 and f.e <= ?2 and k.predicate = 'status' and node.kind not in ('step', 'attempt');

-- name: erased_since
-- Whether something was erased by rows of the ledger.
select count(*) from event where e > ? and e <= ? and kind = 'erased';

-- name: erased
-- The nodes with a status that lost its words.
select s.n from status s join key k on k.subject = s.n and k.predicate = 'status' join claim c on c.k = k.k
join event f on f.e = c.e where f.payload is null and s.status <> '';

-- name: statuses
-- What the view should have of nodes (a JSON list of their numbers): the status of one that has a single text from now on.
select node.n, node.space, node.kind, case
  when count(*) = 1 and max(h.valid_to) = 9223372036854775807 and max(h.valid_from) <= max(l.recorded_at)
    and json_extract(f.payload, '$.value.kind') = 'text' then json_extract(f.payload, '$.value.data')
  else '' end
from json_each(?1) i cross join node on node.n = i.value
cross join (select space, max(recorded_at) as recorded_at from head group by space) l on l.space = node.space
cross join key k on k.subject = node.n and k.predicate = 'status'
cross join stretch h on h.k = k.k and h.retired_at = 9223372036854775807
  and (h.valid_to > l.recorded_at or h.closed_at = 9223372036854775807)
cross join event f on f.e = h.e
where node.kind not in ('step', 'attempt') group by node.n;

-- name: put
-- Keep what the view should have of a node.
insert or replace into status(n, space, kind, status) values(?, ?, ?, ?);

-- name: stored
-- What the view has of nodes (a JSON list of their numbers).
select s.n, s.space, s.kind, s.status from json_each(?1) i cross join status s on s.n = i.value;

-- name: drop
-- Take the rows of nodes (a JSON list of their numbers).
delete from status where n in (select value from json_each(?1));

-- name: with_status
-- Every node with a status, of whatever kind.
select distinct subject from key where predicate = 'status';

-- name: leg
-- Nodes of a kind with one status: the beginning of a query.
select s.n as n from status s cross join node on node.n = s.n where s.space = :space and s.kind = :kind
