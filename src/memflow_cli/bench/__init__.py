"""How fast a model makes films here."""
