"""Who may call, what was used, what it costs: pure functions and small value machines."""
