"""Small servers that do one row's work in the plainest way of their library, each a script of its own."""
