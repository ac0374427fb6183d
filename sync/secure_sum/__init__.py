"""Secure sums: the coordinator learns a sum over at least K people, or nothing."""
