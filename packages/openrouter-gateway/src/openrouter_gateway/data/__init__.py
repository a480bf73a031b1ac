"""Tables that ship with the gateway."""
