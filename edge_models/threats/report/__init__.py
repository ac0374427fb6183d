"""What people read of a run: one page, Markdown, and the comparison of two runs."""
