"""The read API (FastAPI): one router per resource, pydantic bodies; what changes things takes an admin key.

Does not belong here: Dagster, SQL, anything that fetches or computes beyond what a read derives.
"""
