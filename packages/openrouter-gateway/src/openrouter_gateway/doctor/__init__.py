"""What the command `doctor` looks at: whether everything that a gateway needs is there and works."""
