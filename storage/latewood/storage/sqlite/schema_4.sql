-- What schema 4 adds to schema 3: which status a node has now, for lists by it. A row for each node with a status, but
-- steps and attempts, of which there are many and nobody lists them so. An empty status: look at the facts. The view
-- reaches as far as `reached` says; `follow` brings it up to date.
create table status(n integer primary key, space int not null, kind text not null, status text not null);
create index status_kind on status(space, kind, status, n);
