"""Typed settings: every variable of the system is declared, documented and checked here, once.

Values come from the process environment and, when `QM_ENV_FILE` names one, from that file (the environment wins). A
`.env` that merely lies around is never read. Names of the systems that this one replaces are accepted as aliases.

Belongs here: what may be set, and reading it, once or again. Does not: what a setting is used for.
"""

from quantmatrix_pipeline.settings.fields import LogLevel, Settings, Source
from quantmatrix_pipeline.settings.loading import ENV_FILE, Reading, load, misspelt, read
from quantmatrix_pipeline.settings.reloading import Reloading
from quantmatrix_pipeline.settings.vendors import ALIASES, VENDORS, VendorSettings, vendor_names

__all__ = [
    "ALIASES",
    "ENV_FILE",
    "VENDORS",
    "LogLevel",
    "Reading",
    "Reloading",
    "Settings",
    "Source",
    "VendorSettings",
    "load",
    "misspelt",
    "read",
    "vendor_names",
]
