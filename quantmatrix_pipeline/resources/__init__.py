"""Dagster resources that hand out plain domain objects, built from settings.

Belongs here: construction and tear-down. Does not: any method that does the domain's work.
"""
