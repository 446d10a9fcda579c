"""The files source: a folder of Parquet or CSV bars with a small declaration (docs/files-source.md says the layout).

Belongs here: reading and serving such a folder. Does not: judging prices (bars), writing anything.
"""

from quantmatrix_pipeline.providers.vendors.files.provider import FilesProvider

__all__ = ["FilesProvider"]
