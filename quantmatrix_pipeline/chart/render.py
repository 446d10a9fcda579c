"""From a spec to a file: a PNG, or one HTML page that needs no network."""

from __future__ import annotations

import html
import json
from importlib import import_module
from types import ModuleType
from typing import Any

from quantmatrix_pipeline.errors import ConfigurationError

VERSION = "6.4"  # of Vega-Lite; the converter carries several
SCALE = 2.0  # pixels of a PNG to one of the spec: sharp on any screen

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{title}</title>
<style>body {{ margin: 24px; background: white; }} #vg-tooltip-element td {{ padding: 0 4px; }}</style>
<script>{library}</script>
</head>
<body>
<div id="chart"></div>
<script>vegaEmbed("#chart", {spec}, {{actions: false, renderer: "svg"}});</script>
</body>
</html>
"""


def png(spec: dict[str, Any]) -> bytes:
    """Draw a spec.

    Raises
    ------
    ConfigurationError
        The extra that draws is not installed.
    """
    drawn: bytes = _converter().vegalite_to_png(spec, vl_version=VERSION, scale=SCALE, allowed_base_urls=[])
    return drawn


def page(spec: dict[str, Any]) -> str:
    """Return a page with the spec and the library that draws it, scripts and all.

    Raises
    ------
    ConfigurationError
        The extra that draws is not installed.
    """
    library = _converter().javascript_bundle(vl_version=VERSION)
    # A name out of a vendor's answer must not be able to end the script that it stands in.
    plain = json.dumps(spec).replace("<", "\\u003c")
    return _PAGE.format(title=html.escape(spec["title"]["text"]), library=library, spec=plain)


def _converter() -> ModuleType:
    try:
        return import_module("vl_convert")
    except ImportError as error:
        raise ConfigurationError("drawing needs vl-convert: pip install 'quantmatrix-pipeline[chart]'") from error
