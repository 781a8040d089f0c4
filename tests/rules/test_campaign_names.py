"""Which campaigns a name stands for."""

import pytest

from schemas.route import is_campaign_of


@pytest.mark.parametrize(
    "full_name", ["Leads", "Leads 2026-11", "Leads 2026-11-28", "Leads 2026-W48"]
)
def test_a_name_stands_for_all_periods(full_name: str) -> None:
    assert is_campaign_of(full_name, "Leads")


@pytest.mark.parametrize(
    "full_name", ["Leads of May", "Leads2026-11", "New Leads", "Leads 2026", "2026-11", ""]
)
def test_a_name_stands_for_no_other_campaign(full_name: str) -> None:
    assert not is_campaign_of(full_name, "Leads")
