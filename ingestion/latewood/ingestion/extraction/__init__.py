"""Extraction by a model, opt-in: what a transcript says, as proposals grounded to a quote, never as facts."""
