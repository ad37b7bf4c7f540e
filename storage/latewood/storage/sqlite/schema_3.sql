-- What schema 3 adds to schema 2: the queue view, a row for each message that a consumer group has not settled.
-- `state`: 0 ready, 1 not before `at` (put off, or had by `owner` until then), 2 blocked behind one of its ordering key.
-- `lane` counts what waits for a group. `message` and `grp` are ids of nodes; `ordering` is an HMAC.
create table queued(
  space int not null, grp blob not null, message blob not null, seq int not null, priority int not null,
  ordering blob, size int not null, ready_at int not null, failures int not null, state int not null, at int not null,
  owner text, fence int not null, taken int not null, primary key(space, grp, message)) without rowid;
create index queued_ready on queued(space, grp, priority desc, seq) where state = 0;
create index queued_later on queued(space, grp, at) where state = 1;
create index queued_ordering on queued(space, grp, ordering, seq) where ordering is not null;
create index queued_place on queued(space, grp, seq);
create index queued_message on queued(space, message);
create table lane(
  space int not null, grp blob not null, pending int not null, bytes int not null,
  primary key(space, grp)) without rowid;
