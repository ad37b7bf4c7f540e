// Schema 4. Constraints and indexes of Neo4j Community; and each statement may run any number of times.
// `Event` is the ledger and the truth; everything else can be rebuilt. `space` is the number of a space.
// Several that met at the first opening could leave a counter of spaces each.
MATCH (c:Latewood) WITH c ORDER BY coalesce(c.spaces, 0) DESC
WITH collect(c)[1..] AS extra FOREACH (one IN extra | DETACH DELETE one);
CREATE CONSTRAINT latewood_itself IF NOT EXISTS FOR (n:Latewood) REQUIRE n.name IS UNIQUE;
CREATE CONSTRAINT latewood_space_name IF NOT EXISTS FOR (n:Space) REQUIRE (n.tenant, n.name) IS UNIQUE;
CREATE CONSTRAINT latewood_space_number IF NOT EXISTS FOR (n:Space) REQUIRE n.space IS UNIQUE;
CREATE CONSTRAINT latewood_ledger IF NOT EXISTS FOR (n:Ledger) REQUIRE (n.space, n.ledger) IS UNIQUE;
CREATE CONSTRAINT latewood_event_seq IF NOT EXISTS FOR (n:Event) REQUIRE (n.space, n.ledger, n.seq) IS UNIQUE;
CREATE CONSTRAINT latewood_receipt_id IF NOT EXISTS FOR (n:Receipt) REQUIRE (n.space, n.id) IS UNIQUE;
CREATE CONSTRAINT latewood_receipt_op IF NOT EXISTS FOR (n:Receipt) REQUIRE (n.space, n.op) IS UNIQUE;
CREATE CONSTRAINT latewood_node_id IF NOT EXISTS FOR (n:Node) REQUIRE (n.space, n.id) IS UNIQUE;
CREATE CONSTRAINT latewood_node_key IF NOT EXISTS FOR (n:Node) REQUIRE (n.space, n.norm) IS UNIQUE;
CREATE CONSTRAINT latewood_fact_id IF NOT EXISTS FOR (n:Fact) REQUIRE (n.space, n.id) IS UNIQUE;
CREATE CONSTRAINT latewood_fact_place IF NOT EXISTS FOR (n:Fact) REQUIRE (n.space, n.place) IS UNIQUE;
CREATE CONSTRAINT latewood_key IF NOT EXISTS FOR (n:Key) REQUIRE (n.space, n.id) IS UNIQUE;
CREATE CONSTRAINT latewood_lease IF NOT EXISTS FOR (n:Lease) REQUIRE (n.space, n.name) IS UNIQUE;
CREATE CONSTRAINT latewood_refusal IF NOT EXISTS FOR (n:Refusal) REQUIRE (n.tenant, n.slot) IS UNIQUE;
CREATE CONSTRAINT latewood_refusals IF NOT EXISTS FOR (n:Refusals) REQUIRE n.tenant IS UNIQUE;
CREATE INDEX latewood_node_born IF NOT EXISTS FOR (n:Node) ON (n.space, n.born);
CREATE INDEX latewood_node_status IF NOT EXISTS FOR (n:Node) ON (n.space, n.kind, n.status, n.born);
CREATE INDEX latewood_node_stated IF NOT EXISTS FOR (n:Node) ON (n.space, n.stated_at);
CREATE INDEX latewood_fact_subject IF NOT EXISTS FOR (n:Fact) ON (n.space, n.subject, n.valid_from);
CREATE INDEX latewood_fact_object IF NOT EXISTS FOR (n:Fact) ON (n.space, n.object);
CREATE INDEX latewood_fact_key IF NOT EXISTS FOR (n:Fact) ON (n.space, n.key_id, n.valid_from);
CREATE INDEX latewood_fact_began IF NOT EXISTS FOR (n:Fact) ON (n.space, n.valid_from);
CREATE INDEX latewood_refusal_id IF NOT EXISTS FOR (n:Refusal) ON (n.tenant, n.id);
CREATE INDEX latewood_fact_retraction IF NOT EXISTS FOR (n:Fact) ON (n.space, n.retraction);
CREATE CONSTRAINT latewood_generation IF NOT EXISTS FOR (n:SpaceGeneration) REQUIRE (n.space, n.name) IS UNIQUE;
CREATE CONSTRAINT latewood_vector IF NOT EXISTS FOR (n:SpaceVector) REQUIRE (n.space, n.fact, n.generation) IS UNIQUE;
CREATE CONSTRAINT latewood_queued IF NOT EXISTS FOR (n:SpaceQueued) REQUIRE (n.space, n.message, n.group) IS UNIQUE;
CREATE CONSTRAINT latewood_lane IF NOT EXISTS FOR (n:SpaceLane) REQUIRE (n.space, n.group) IS UNIQUE;
CREATE INDEX latewood_queued_ready IF NOT EXISTS FOR (n:SpaceQueued) ON (n.ready);
CREATE INDEX latewood_queued_later IF NOT EXISTS FOR (n:SpaceQueued) ON (n.later);
CREATE INDEX latewood_queued_line IF NOT EXISTS FOR (n:SpaceQueued) ON (n.line);
CREATE INDEX latewood_queued_place IF NOT EXISTS FOR (n:SpaceQueued) ON (n.place);
CREATE INDEX latewood_queued_message IF NOT EXISTS FOR (n:SpaceQueued) ON (n.space, n.message);
CREATE INDEX latewood_queued_group IF NOT EXISTS FOR (n:SpaceQueued) ON (n.space, n.group);
