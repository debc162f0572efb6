"""One optimizer step: optimizer, schedule, compiled calls, skipped steps."""
