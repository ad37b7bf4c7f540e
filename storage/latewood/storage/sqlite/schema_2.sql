-- What schema 2 adds to schema 1: search by fact, and vectors.
-- `memory` has a row for each fact that carries text: a view of the ledger, with what filters ask for. It reaches as far
-- as `reached` says; `remember` brings it up to date. A generation's vectors are in the table vector_N of its number.
create table memory(
  e integer primary key, space int not null, k int not null, subject int not null, predicate text not null,
  session int, actor int, trust int not null, valid_from int not null, recorded_at int not null);
create index memory_line on memory(subject, predicate, valid_from, recorded_at, e);
create index memory_time on memory(space, valid_from);
create index memory_session on memory(session) where session is not null;
create index memory_actor on memory(actor) where actor is not null;
create table reached(view text primary key, e int not null) without rowid;
create table generation(
  n integer primary key autoincrement, space int not null, name text not null, model text not null,
  dimensions int not null, state text not null, changes int not null, unique(space, name));
