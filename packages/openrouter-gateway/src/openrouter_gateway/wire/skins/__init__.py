"""The inbound dialects. Adding one: write its file and its route in `edge`."""
