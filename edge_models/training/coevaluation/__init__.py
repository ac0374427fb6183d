"""Privacy beside utility: every level and model judged on one set of people, and told in one page.

    plans → tables of levels → attacks and affect → `Evaluation` → JSON, Markdown, one HTML page

Rules it upholds: a figure has an interval over people and stands beside its baselines; what looks
bad stays in; nothing here chooses a model.
"""
