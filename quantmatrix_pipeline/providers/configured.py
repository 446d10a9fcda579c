"""What the settings say of the vendors, for people: who may be asked, how often, and in which order."""

from __future__ import annotations

from collections.abc import Iterator

from quantmatrix_pipeline.providers.contract import Capability
from quantmatrix_pipeline.providers.routing.policy import Policies
from quantmatrix_pipeline.settings import VENDORS, Settings, VendorSettings


def vendors(settings: Settings) -> Iterator[tuple[VendorSettings, str]]:
    """Yield each vendor with whether its key is set (never the key) and its budget."""
    for name in VENDORS:
        vendor = settings.vendor(name)
        budget = "no budget" if vendor.budget == "unlimited" else f"budget {vendor.budget}"
        if vendor.key_variable is None:
            yield vendor, f"needs no key, {budget}"
        elif vendor.key is not None:
            yield vendor, f"key set, {budget}"
        elif vendor.key_required:
            yield vendor, f"{vendor.key_variable} is not set; skipped"
        else:
            yield vendor, f"{vendor.key_variable} is not set; asked without, {budget}"


def policies(settings: Settings) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield the capabilities that share an order, and that order, best first; those that nobody serves are left out."""
    in_force = Policies.build(settings.market_provider_policy, settings.policies)
    shared: dict[tuple[str, ...], list[str]] = {}
    for capability in Capability:
        if order := in_force.of(capability):
            shared.setdefault(order, []).append(capability.value)
    for order, capabilities in shared.items():
        yield ", ".join(capabilities), order


def shown(order: tuple[str, ...], settings: Settings) -> str:
    """Write an order of vendors, with those marked that lack their key."""
    return " -> ".join(name if settings.vendor(name).usable else f"{name} (no key)" for name in order)
