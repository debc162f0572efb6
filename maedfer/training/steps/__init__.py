"""Parts of an optimizer step: optimizer, schedule, compiled calls, skipped steps."""
