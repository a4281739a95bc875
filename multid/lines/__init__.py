"""Lines: splitting, escaping, parsing, writing."""
