"""Which web servers to ask through after what stands behind them got a new address."""

from collections.abc import Sequence

from owctl.compose.model import Stack
from owctl.lifecycle.observed import Observed
from owctl.lifecycle.plan import Step, keys
from owctl.lifecycle.proxy import upstreams

MOVING = ("start", "restart")


def reach_steps(stack: Stack, observed: Observed, steps: Sequence[Step]) -> list[Step]:
    """Return a question for each web server that keeps running while its upstreams move.

    One that starts itself in this plan resolves the new addresses by itself. Without a wait for
    the upstreams (``--no-wait``) there is nothing to ask yet.
    """
    moved = {step.service for step in steps if step.kind in MOVING}
    awaited = {step.service for step in steps if step.kind == "ready"}
    result: list[Step] = []
    for name, service in stack.services.items():
        behind = [up for up in upstreams(stack, service) if up in moved and up in awaited]
        if not behind or name in moved:
            continue
        after = keys(s for s in steps if s.kind == "ready" and s.service in (*behind, name))
        result += [
            Step(
                kind="reach",
                subject=name,
                service=name,
                number=container.number,
                name=container.name,
                container_id=container.id,
                reason=f"{', '.join(behind)} may have a new address",
                requires=after,
            )
            for container in observed.of(name)
            if container.state == "running"
        ]
    return result
