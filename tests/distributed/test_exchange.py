"""The model by which the exchange is chosen."""

import pytest

import relgrad_np as rg
from relgrad_np.distributed import exchange
from relgrad_np.distributed.exchange import Machine, choose, cost, possible
from relgrad_np.rules.by_name import make_rule


@pytest.mark.parametrize("name", ["plain", "exponential", "scalar", "adam", "recipe"])
def test_the_cheapest_exchange_is_chosen_and_sums_win_from_some_number_of_samples_on(name):
    rule, machine = make_rule(name), Machine(4e10, 3e7, 4e9, 2e9, 5e-6)
    for D in (64, 512):
        chosen = []
        for N in (2**i for i in range(4, 18)):
            took = choose(rule, N, D, 2, 4, machine=machine)
            seconds = {
                e: cost(e, rule, N, D, 2, 4, machine=machine).seconds for e in possible(rule)
            }
            assert seconds[took] == min(seconds.values())
            chosen.append(took == "sums")
        assert chosen == sorted(chosen)  # factors first, then sums for good
        assert not chosen[0]
        assert chosen[-1] == ("sums" in possible(rule))


def test_the_model_counts_the_numbers_of_the_page():
    for e, numbers in (("factors", 2 * 256), ("products", 3 * 256)):
        sent = cost(e, rg.Plain(), 1024, 512, 3, 4).sent
        assert sent == 3 * (3 * numbers * 512 * 8 + exchange.HEADER * 8)
    sent = cost("sums", rg.Plain(), 1024, 512, 3, 4).sent
    assert sent == 3 * (3 * 2 * (512 * 513 // 4) * 8 + exchange.HEADER * 8)
    X = cost("factors", rg.Adam(side="input"), 1024, 512, 3, 4).sent
    assert X - cost("factors", rg.Adam(), 1024, 512, 3, 4).sent == 3 * 256 * 512 * 8
    assert cost("factors", rg.Plain(), 1024, 512, 3, 1).sent == 0
    with pytest.raises(ValueError, match="exchange"):
        cost("gossip", rg.Plain(), 1024, 512, 3, 4)
