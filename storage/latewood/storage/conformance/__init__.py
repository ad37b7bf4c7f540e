"""The shipped kit: what a store must do, as checks that any adapter runs unchanged."""
