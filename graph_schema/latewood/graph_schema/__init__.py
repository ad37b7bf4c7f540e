"""The words of Latewood: what a decision, a fact and an event are. Standard library only, no I/O."""
