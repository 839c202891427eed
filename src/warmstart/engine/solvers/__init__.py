"""Closed-form and batched solvers of linear heads over fixed features."""
