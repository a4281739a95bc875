"""The rows of the table, a file each."""
