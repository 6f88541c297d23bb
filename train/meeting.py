"""Meeting points where several processes wait for one another outside of computing."""

import itertools

import jax

LONGEST = 10 * 60 * 1000  # ms
_met = itertools.count()


def wait_for_all(what: str) -> None:
    """Returns when every process has come here: as often, and in the same order. One process doesn't wait."""
    if jax.process_count() > 1:
        from jax._src import distributed  # Orbax asks there too: there is no other door

        service = distributed.global_state.client
        assert service is not None
        service.wait_at_barrier(f"unroll {what} {next(_met)}", LONGEST)
