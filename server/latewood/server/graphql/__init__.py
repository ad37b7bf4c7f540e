"""GraphQL over the one door: every verb as a query, a mutation or a subscription, in the same words."""
