-- Schema 1. Times are microseconds since 1970; an open end is 9223372036854775807; ids are 16 bytes.
-- `event` is the ledger and the truth; key, claim, stretch, node and the text tables are views that can be rebuilt.
create table space(
  n integer primary key, tenant text not null, name text not null, id blob not null, secret blob not null,
  strict int not null, state text not null, filling text, created_at int not null, unique(tenant, name));
create table head(
  space int not null, ledger int not null, seq int not null, hash blob not null, recorded_at int not null,
  primary key(space, ledger)) without rowid;
create table event(
  e integer primary key, space int not null, ledger int not null, seq int not null, unit blob not null,
  ordinal int not null, recorded_at int not null, written_at int not null, kind text not null, id blob not null,
  subject blob not null, key blob, target blob, tier int not null, trust int not null, known int not null,
  valid_from int, valid_to int, op blob, body blob, digest blob not null, hash blob not null, salt blob, payload text);
create unique index event_seq on event(space, ledger, seq);
create index event_id on event(id);
create table node(
  n integer primary key, space int not null, id blob not null, kind text not null, type text not null, key text,
  norm text, name text not null, attributes text not null, recorded_at int not null, version int not null);
create unique index node_id on node(space, id);
create unique index node_key on node(space, norm) where norm is not null;
create index node_kind on node(space, kind, n);
create table key(
  k integer primary key, space int not null, id blob not null, subject int not null, predicate text not null,
  origin blob not null, contested int not null, top int not null);
create unique index key_id on key(space, id);
create index key_subject on key(subject, predicate);
create table claim(
  k int not null, valid_from int not null, e int not null, valid_to int not null, tier int not null,
  known int not null, trust int not null, recorded_at int not null, ordinal int not null, absent int not null,
  retracted_at int not null, retraction int, object blob,
  primary key(k, valid_from desc, e)) without rowid;
create index claim_object on claim(object, k) where object is not null;
create table stretch(
  k int not null, valid_from int not null, recorded_at int not null, e int not null, valid_to int not null,
  closed_at int not null, retired_at int not null,
  primary key(k, valid_from desc, recorded_at desc, e)) without rowid;
create table receipt(
  id blob primary key, space int not null, op blob, body blob not null, receipt text not null) without rowid;
create unique index receipt_op on receipt(space, op) where op is not null;
create table refusal(
  n integer primary key, id blob not null, tenant text not null, space text not null, code text not null,
  actor text not null, body blob not null, message text not null, at int not null);
create unique index refusal_id on refusal(id);
create index refusal_tenant on refusal(tenant, n);
create table lease(
  space int not null, name text not null, owner text, fence int not null, until int not null,
  primary key(space, name)) without rowid;
