"""Input of a run: scenarios, traces, access patterns and page contents. Knows no engine."""
