"""Every text of the panel and the status line."""
