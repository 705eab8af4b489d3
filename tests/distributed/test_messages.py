"""What a rank sends, when and in which order; what it hears; how arrays reach MPI.

Planted mistakes: sums in another order, messages that are sent too late.
"""

from dataclasses import replace

import numpy as np
import pytest

import relgrad_np as rg
from relgrad_np.core import arrays
from relgrad_np.distributed import exchange, messages
from relgrad_np.distributed import train_step as distributed
from relgrad_np.distributed.agree import Agreement, RanksDifferError
from relgrad_np.distributed.messages import Messages
from tests.doubles.communicator import Alike


def test_messages_count_what_a_rank_sends():
    sends = Messages(Alike(4))
    x = np.arange(6.0).reshape(2, 3)
    assert (sends.gather(x, (2, 2, 2, 2)).result(x) == np.tile(x, (4, 1))).all()
    assert sends.sent == 3 * 6 * 8
    pending = sends.sum(np.ones((3, 3)))
    assert sends.under_way == [pending]
    pending.reduce()
    pending.result(np.ones((3, 3)))
    # three of four parts, ceil(9 / 4) numbers each, twice
    assert sends.sent == 3 * 6 * 8 + 2 * 3 * 3 * 8
    assert not sends.under_way


def test_sums_are_taken_in_the_order_of_ranks():
    """The mistake: any other order, or a tree; then two ranks might have other bits."""

    class Given(Alike):
        def Ialltoall(self, parts, received):
            received[:] = np.array([1e16, 1.0, -1e16, 1.0])[:, None]
            return self

    pending = Messages(Given(4)).sum(np.zeros(4))
    pending.reduce()
    assert (pending.result(np.zeros(4)) == ((1e16 + 1.0) - 1e16) + 1.0).all()


def test_ranks_that_listen_hear_of_an_error_wherever_they_meet():
    """The mistake: to send arrays while a rank may be telling an error; then both sides wait."""

    class OneFails(Messages):
        def objects(self, value):
            return [value, ("no memory", None)]

    def calls(agreement):
        return [
            lambda: agreement.gather(1),
            lambda: agreement.share(1),
            lambda: agreement.numbers([1.0]),
            lambda: agreement.require_same({"rule": "plain"}),
            agreement.stop_listening,
            lambda: agreement.raise_on_all(ValueError("of this rank")),
        ]

    for i in range(6):
        agreement = Agreement(OneFails(Alike(2)))
        with pytest.raises(
            RanksDifferError, match="rank 0: of this" if i == 5 else "rank 1: no memory"
        ):
            calls(agreement)[i]()
        assert agreement.listening
    agreement = Agreement(Messages(Alike(3)))
    for expected in (True, False):
        assert agreement.listening == expected
        assert (agreement.numbers([1.0, 2.0]) == np.tile([1.0, 2.0], (3, 1))).all()
        agreement.stop_listening()


@pytest.mark.parametrize("how", exchange.EXCHANGES)
def test_a_layer_is_sent_before_the_delta_below_it_is_computed(how):
    """The mistake: to send when all deltas are there; then nothing overlaps."""
    rng, events = np.random.default_rng(0), []
    layers, act = rg.init_layers(rng, 4, 3), rg.activation("smooth_leaky_relu")

    def dsigma(y):
        events.append("delta")
        return act.dsigma(y)

    class Recorded(Messages):
        def gather(self, x, counts):
            events.append("sent")
            return super().gather(x, counts)

        def sum(self, x):
            events.append("sent")
            return super().sum(x)

    state, rule, X = rg.init_state(layers, rg.Plain()), rg.Plain(), rng.standard_normal((7, 4))
    model = {"activation": act, "density": rg.density("sech"), "rule": rule}
    after, info, _ = distributed.train_step(
        state, X, **(model | {"activation": replace(act, dsigma=dsigma)}), counts=(7,),
        messages=Recorded(Alike(1)), exchange=how,
    )  # fmt: skip
    one = ["sent"] * {"factors": 2, "products": 3, "sums": 1}[how]
    assert events == ["sent", *one, "delta", *one, "delta", *one]  # the first: three numbers
    truth, known = rg.train_step(state, X, **model)
    for a, b in zip(after.layers, truth.layers, strict=True):
        np.testing.assert_allclose(a.W, b.W, rtol=0, atol=1e-14)
        np.testing.assert_allclose(a.b, b.b, rtol=0, atol=1e-14)
    assert float(info.log_likelihood) == pytest.approx(float(known.log_likelihood), abs=1e-13)


class Card:
    """An array that pretends to be on a device, and knows who has touched it."""

    def __init__(self, x):
        self.x, self.fetched = x, 0

    def get(self):
        self.fetched += 1
        return self.x


@pytest.mark.parametrize("aware", [False, True])
def test_device_arrays_are_staged_unless_mpi_reads_them(monkeypatch, aware):
    """With a CUDA-aware MPI the array itself goes out, after its stream is done; else a copy."""
    card, events = Card(np.ones((2, 3))), []

    class Stream:
        def synchronize(self):
            events.append("synchronised")

    class Namespace:
        class cuda:
            get_current_stream = staticmethod(Stream)

        @staticmethod
        def ascontiguousarray(x):
            return x

    for compat in (messages.compat, arrays.compat):
        monkeypatch.setattr(compat, "is_cupy_array", lambda x: isinstance(x, Card))
    monkeypatch.setattr(messages.compat, "array_namespace", lambda x: Namespace)
    sent = Messages(Alike(2), cuda_aware=aware).readable(card)
    assert (sent is card) == aware
    assert events == ["synchronised"] * aware
    assert card.fetched == (not aware)


def test_the_environment_decides_whether_mpi_reads_devices(monkeypatch):
    for name in messages.CUDA_AWARE:
        monkeypatch.delenv(name, raising=False)
    assert not Messages(Alike(2)).cuda_aware
    monkeypatch.setenv("MPICH_GPU_SUPPORT_ENABLED", "1")
    assert Messages(Alike(2)).cuda_aware
    assert not Messages(Alike(2), cuda_aware=False).cuda_aware
