"""Protocols: GraphQL over HTTP. No rules of its own."""
