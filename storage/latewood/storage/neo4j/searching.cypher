// name: generations
// The generations of a space.
MATCH (g:SpaceGeneration) WHERE g.space = $space AND g.name > ''
RETURN g.number, g.name, g.model, g.dimensions, g.state ORDER BY g.number;

// name: next_generation
// Take the number of a new generation; the counter is the lock.
MERGE (c:Latewood {name: 'Latewood'})
SET c.generations = coalesce(c.generations, 0) + 1
RETURN c.generations;

// name: create_generation
// Keep a generation, once its index is there.
CREATE (g:SpaceGeneration) SET g = $generation;

// name: set_generations
// Change the states of generations.
UNWIND $rows AS row MATCH (g:SpaceGeneration {space: $space, name: row.name}) SET g.state = row.state;

// name: delete_generation
// Forget a generation whose vectors are gone.
MATCH (g:SpaceGeneration {space: $space, name: $name}) DELETE g;

// name: drop_vectors
// Take some vectors of a generation.
MATCH (v:{label}) WITH v LIMIT $most DELETE v RETURN count(*);

// name: count_vectors
// How many vectors a generation has.
MATCH (v:{label}) RETURN count(v);

// name: count_memories
// How many memories a space has.
MATCH (f:Fact) WHERE f.space = $space AND f.place > -1 AND f.text IS NOT NULL RETURN count(f);

// name: keep_vectors
// Keep vectors of memories that have none.
UNWIND $rows AS row
MATCH (f:Fact {space: $space, id: row.fact})
WHERE f.text IS NOT NULL
  AND NOT EXISTS { MATCH (v:SpaceVector {space: $space, fact: row.fact, generation: $generation}) }
CREATE (v:SpaceVector:{label} {space: $space, fact: row.fact, generation: $generation, name: 'vector', numbers: row.numbers})
RETURN count(v);

// name: unembedded
// Memories without a vector, with their payload.
MATCH (f:Fact) WHERE f.space = $space AND f.place > $after AND f.text IS NOT NULL
  AND NOT EXISTS { MATCH (v:SpaceVector {space: $space, fact: f.id, generation: $generation}) }
RETURN f.place, f.id, f.payload ORDER BY f.place LIMIT $first;

// name: sources_in_session
// The sources of sessions.
UNWIND $ids AS id MATCH (n:Node {space: $space, id: id})<-[:IN_SESSION]-(s:Source) USING INDEX SEEK n:Node(space, id)
RETURN DISTINCT s.id;

// name: sources_of_actor
// The sources of actors.
UNWIND $ids AS id MATCH (n:Node {space: $space, id: id})<-[:BY]-(s:Source) USING INDEX SEEK n:Node(space, id)
RETURN DISTINCT s.id;

// name: pointing
// Nodes that point at things with a relation that holds at (t, r).
UNWIND $ids AS id
MATCH (o:Node|Fact {space: $space, id: id})<-[h]-(n:Node)
WHERE h.fact_id IS NOT NULL AND type(h) <> 'HAS_FACT' AND {visible:h}
RETURN DISTINCT n.id;

// name: match_words
// What has words, best first; whether it is a memory known at r, and whether it holds at (t, r).
CALL db.index.fulltext.queryNodes($index, $words, {limit: $most}) YIELD node, score
RETURN CASE WHEN node:Fact AND node.recorded_at <= $r THEN node.id END, node.subject, {us:node.valid_from}, score,
  EXISTS { MATCH (node)<-[h:HAS_FACT]-() WHERE {visible:h} };

// name: match_words_inside
// Memories of a scope that have words, best first; {filters} are the scope's, words of callers are only bound.
CALL db.index.fulltext.queryNodes($index, $words) YIELD node AS f, score
WITH f, score WHERE f:Fact AND {filters}
WITH f, score ORDER BY score DESC, f.id LIMIT $most
RETURN f.id, f.subject, {us:f.valid_from}, score, EXISTS { MATCH (f)<-[h:HAS_FACT]-() WHERE {visible:h} };

// name: count_inside
// How many memories a scope has, up to a bound; {source} is where they are found.
{source} AND {filters} WITH f LIMIT $most RETURN count(f);

// name: match_inside
// Memories of a scope by the cosine of their vectors, each compared.
{source} AND {filters}
MATCH (v:SpaceVector {space: $space, fact: f.id, generation: $generation})
  USING INDEX SEEK v:SpaceVector(space, fact, generation)
WITH f, 2 * vector.similarity.cosine(v.numbers, $vector) - 1 AS score ORDER BY score DESC, f.id LIMIT $most
RETURN f.id, f.subject, {us:f.valid_from}, score, EXISTS { MATCH (f)<-[h:HAS_FACT]-() WHERE {visible:h} };

// name: match_near
// Memories of a scope among the nearest that the vector index gives, best first.
CALL db.index.vector.queryNodes($index, $most, $vector) YIELD node AS v
MATCH (f:Fact {space: $space, id: v.fact}) USING INDEX SEEK f:Fact(space, id) WHERE {filters}
WITH f, 2 * vector.similarity.cosine(v.numbers, $vector) - 1 AS score ORDER BY score DESC, f.id
RETURN f.id, f.subject, {us:f.valid_from}, score, EXISTS { MATCH (f)<-[h:HAS_FACT]-() WHERE {visible:h} };

// name: around
// What holds before and after memories, of the same subject and predicate, nearest first.
UNWIND $ids AS id
MATCH (f:Fact {space: $space, id: id}) WHERE f.text IS NOT NULL AND f.recorded_at <= $r
CALL (f) {
  MATCH (o:Fact {space: $space, subject: f.subject}) USING INDEX SEEK o:Fact(space, subject, valid_from)
  WHERE o.valid_from <= f.valid_from AND o.predicate = f.predicate AND o.text IS NOT NULL AND o.recorded_at <= $r
    AND (o.valid_from < f.valid_from OR o.recorded_at < f.recorded_at
      OR (o.recorded_at = f.recorded_at AND o.ordinal < f.ordinal))
  WITH o ORDER BY o.valid_from DESC, o.recorded_at DESC, o.ordinal DESC LIMIT $most
  WHERE EXISTS { MATCH (o)<-[h:HAS_FACT]-() WHERE {visible:h} }
  RETURN collect([o.id, o.subject, {us:o.valid_from}])[..$each_side] AS before
}
CALL (f) {
  MATCH (o:Fact {space: $space, subject: f.subject}) USING INDEX SEEK o:Fact(space, subject, valid_from)
  WHERE o.valid_from >= f.valid_from AND o.predicate = f.predicate AND o.text IS NOT NULL AND o.recorded_at <= $r
    AND (o.valid_from > f.valid_from OR o.recorded_at > f.recorded_at
      OR (o.recorded_at = f.recorded_at AND o.ordinal > f.ordinal))
  WITH o ORDER BY o.valid_from, o.recorded_at, o.ordinal LIMIT $most
  WHERE EXISTS { MATCH (o)<-[h:HAS_FACT]-() WHERE {visible:h} }
  RETURN collect([o.id, o.subject, {us:o.valid_from}])[..$each_side] AS after
}
RETURN f.id, before, after;

// name: take_vectors
// Take the vectors of memories, of every generation.
UNWIND $places AS place
MATCH (f:Fact {space: $space, place: place})
MATCH (v:SpaceVector) WHERE v.space = $space AND v.fact = f.id AND v.generation > 0
DELETE v RETURN count(v);
