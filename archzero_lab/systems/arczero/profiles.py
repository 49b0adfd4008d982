"""How much a report on the card service measures: smoke for CI, standard to quote, full for a million cards."""

from __future__ import annotations

from archzero_lab.systems.profiles import Profile, SlotSize


def _slots(lists: SlotSize, details: SlotSize, searches: SlotSize, filters: SlotSize) -> dict[str, SlotSize]:
    return {"list": lists, "detail": details, "search": searches, "filter": filters, "requests": filters}


PROFILES = {
    profile.name: profile
    for profile in (
        Profile(
            "smoke", 20_000, 12, _slots(SlotSize(5, 15), SlotSize(50, 200), SlotSize(5, 10), SlotSize(6, 12)),
            load_blocks=8, load_slot_s=1.0, load_warm_up_s=3, load_users=8, limit_s=90,
        ),
        Profile(
            "standard", 100_000, 20, _slots(SlotSize(8, 16), SlotSize(200, 600), SlotSize(5, 10), SlotSize(6, 12)),
            load_blocks=8, load_slot_s=4, load_warm_up_s=30, load_users=8, limit_s=480,
        ),
        Profile(
            "full", 1_000_000, 12, _slots(SlotSize(5, 10), SlotSize(200, 600), SlotSize(5, 10), SlotSize(6, 12)),
            load_blocks=8, load_slot_s=10, load_warm_up_s=60, load_users=4, limit_s=1800,
        ),
    )
}  # fmt: skip
