"""Packs that several tests open a memory with."""

from __future__ import annotations

SITES = """
name = "sites"
version = "1"
title = "Sites"
description = "Incidents happen side by side."
[predicates.incident]
cardinality = "multi"
description = "What happened at a site."
"""
