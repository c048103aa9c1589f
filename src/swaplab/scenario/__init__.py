"""What to run: scenarios, traces, access patterns and page contents. Knows no engine."""
