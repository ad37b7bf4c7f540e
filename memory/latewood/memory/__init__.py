"""The one door: `from latewood.memory import Memory`."""

from latewood.graph_schema.clock import AsOf, Period
from latewood.graph_schema.model import Alternative, Decision, DecisionStatus, Fact, Node, NodeKind, Trust
from latewood.memory.api import Memory
from latewood.memory.blocking import BlockingMemory
from latewood.memory.duplicates import Duplicate, Duplicates
from latewood.memory.erasing import ErasureReport
from latewood.memory.identity import Merge, Split
from latewood.memory.reader import Entity, Written
from latewood.memory.rebuilding import RebuildReport
from latewood.memory.reindexing import ReindexReport
from latewood.memory.retracting import Retraction, Unretracted
from latewood.reasoning.brief import Brief, BriefLine, BriefSection
from latewood.reasoning.changes import Axis, Difference
from latewood.reasoning.conflicts import Disputed
from latewood.reasoning.fusion import Clue, Signal
from latewood.reasoning.precedents import Precedent
from latewood.reasoning.recalled import Recall, Recalled
from latewood.reasoning.stale import Moved, Stale
from latewood.reasoning.why import Why

__all__ = [
    "Alternative",
    "AsOf",
    "Axis",
    "BlockingMemory",
    "Brief",
    "BriefLine",
    "BriefSection",
    "Clue",
    "Decision",
    "DecisionStatus",
    "Difference",
    "Disputed",
    "Duplicate",
    "Duplicates",
    "Entity",
    "ErasureReport",
    "Fact",
    "Memory",
    "Merge",
    "Moved",
    "Node",
    "NodeKind",
    "Period",
    "Precedent",
    "RebuildReport",
    "Recall",
    "Recalled",
    "ReindexReport",
    "Retraction",
    "Signal",
    "Split",
    "Stale",
    "Trust",
    "Unretracted",
    "Why",
    "Written",
]
