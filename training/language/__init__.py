"""How theatre learned to read: a grammar of plain English, word vectors, and a small network trained on both."""
