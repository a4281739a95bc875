"""The delivery queue's model at length."""

import pytest
from hypothesis import seed, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.campaigns.campaign import Campaign
from tests.mail.test_queue_model import QueueModel


@pytest.mark.campaign
def test_no_mail_is_lost_whatever_happens(campaign: Campaign) -> None:
    histories = campaign.times(200, 3000)
    run_state_machine_as_test(
        seed(campaign.seed)(type("Drawn", (QueueModel,), {})),
        settings=settings(max_examples=histories, stateful_step_count=40, database=None),
    )
    campaign.ledger["histories"] = histories
