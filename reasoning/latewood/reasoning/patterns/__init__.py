"""Patterns across sessions: what recurs, drifts, shifts, flips back or follows, with its error rate and evidence."""
