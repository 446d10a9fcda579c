"""What the database says of migrations, its clock, members that were not believed, and vendors that are left alone."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from quantmatrix_pipeline.health.finding import Finding, bad, note, ok
from quantmatrix_pipeline.warehouse.vital_signs import VitalSigns

# Sessions close, budgets renew and leases end by clocks; half a minute apart they still agree about all of that.
CLOCKS_APART = timedelta(seconds=30)


def migrations(applied: Mapping[str, str], released: Mapping[str, str]) -> Finding:
    """Compare the applied migrations (id -> SHA-256) with the release's."""
    odd = [f"{id_} pending" for id_ in released.keys() - applied.keys()]
    odd += [f"{id_} of a newer release" for id_ in applied.keys() - released.keys()]
    odd += [f"{id_} edited" for id_ in released.keys() & applied.keys() if released[id_] != applied[id_]]
    if odd:
        return bad("migrations", f"{', '.join(sorted(odd))}; `qm db upgrade`")
    return ok("migrations", f"{len(applied)} applied")


def clock(signs: VitalSigns, wall: float) -> Finding:
    """Compare the machine's clock (`wall`: seconds since 1970) with the database server's."""
    apart = wall - signs.server_now.timestamp()
    told = f"{abs(apart):.1f} s {'ahead of' if apart > 0 else 'behind'} the database server's"
    if abs(apart) > CLOCKS_APART.total_seconds():
        return bad("clock", f"this machine's is {told}; which one is wrong? (NTP)")
    return ok("clock", f"{told}")


def members(signs: VitalSigns) -> list[Finding]:
    """Return a finding per index of which a list was not believed; none where all were."""
    found = []
    for refused in signs.refused_members:
        told = (
            f"a list for {refused.session} was not believed (the first on {refused.since:%Y-%m-%d}): {refused.reason}"
        )
        if refused.served_by is None:
            found.append(bad(f"members of {refused.index}", f"{told}; the members known before stay"))
        else:
            found.append(note(f"members of {refused.index}", f"{told}; {refused.served_by}'s was taken instead"))
    return found


def vendors(signs: VitalSigns) -> Finding:
    """Say which vendors are left alone for a while; the router asks the next ones meanwhile."""
    if not signs.open_circuits:
        return ok("vendors", "none is left alone")
    told = ", ".join(f"{vendor} ({why})" for vendor, why in signs.open_circuits.items())
    return note("vendors", f"left alone for a while: {told}; `qm vendors list`")
