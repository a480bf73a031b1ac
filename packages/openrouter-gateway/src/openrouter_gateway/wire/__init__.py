"""Pure translation between bytes and core values; one file per dialect, none of them does I/O."""
