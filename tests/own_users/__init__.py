"""An app whose user has what the admin asks of one, and nothing of Django's own."""
