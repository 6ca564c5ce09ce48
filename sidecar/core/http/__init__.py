"""HTTP: request and response heads, fields, framing, targets and guards."""
