"""Turning texts into vectors: one port, three adapters, and a wrapper that lets none of them fail a write.

Nothing here is loaded before it is used: importing this package imports neither a model's runtime nor a client.
"""
