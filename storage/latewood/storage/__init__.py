"""How the words are kept: the port, its stores, and the journal that writes to them."""
