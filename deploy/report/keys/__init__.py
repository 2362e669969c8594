"""The keys of the files that a run leaves, as types: what each value means and its unit (docs/report.md)."""
