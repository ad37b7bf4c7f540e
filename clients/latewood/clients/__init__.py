"""Clients: the command line."""
